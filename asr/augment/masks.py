"""Masks on features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asr.types import ConfigError

__all__ = ["SpecAugment", "SpecAugmentConfig"]


@dataclass(frozen=True)
class SpecAugmentConfig:
    """How many masks, and how wide at most: features, frames, and a fraction of the utterance."""

    freq_masks: int = 2
    max_freq_width: int = 8
    time_masks: int = 2
    max_time_width: int = 20
    max_time_fraction: float = 0.2

    def __post_init__(self) -> None:
        for name in ("freq_masks", "max_freq_width", "time_masks", "max_time_width"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}", remedy="give 0 or more")
        if not 0.0 <= self.max_time_fraction <= 1.0:
            raise ConfigError(
                f"max_time_fraction is {self.max_time_fraction}", remedy="give a number in [0, 1]"
            )


class SpecAugment(nn.Module):
    """Masks bands of features and spans of frames (Park et al. 2019, "SpecAugment").

    Each utterance draws its own masks within its own length. Masked values become 0, the mean of
    normalised features. In evaluation it changes nothing.
    """

    def __init__(self, config: SpecAugmentConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Mask ``frames (B, T, F)`` with ``lengths (B,)``."""
        if not self.training:
            return frames
        config = self.config
        _, T, F = frames.shape
        size = torch.full_like(lengths, F)
        for _ in range(config.freq_masks):
            band = _random_span(size, size.clamp(max=config.max_freq_width), F)  # (B, F)
            frames = frames.masked_fill(band.unsqueeze(1), 0.0)
        widest = (
            (lengths.double() * config.max_time_fraction).long().clamp(max=config.max_time_width)
        )
        for _ in range(config.time_masks):
            span = _random_span(lengths, widest, T)  # (B, T)
            frames = frames.masked_fill(span.unsqueeze(2), 0.0)
        return frames


def _random_span(size: Tensor, widest: Tensor, width: int) -> Tensor:
    """True in one random span a row: up to ``widest (B,)`` wide, within the first ``size (B,)``."""
    draws = torch.rand(2, len(size), device=size.device)
    span = (draws[0] * (widest + 1)).long()  # 0 .. widest
    start = (draws[1] * (size - span + 1)).long()
    position = torch.arange(width, device=size.device)
    return (position >= start.unsqueeze(1)) & (position < (start + span).unsqueeze(1))
