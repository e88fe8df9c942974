"""Changes to training data that leave its text true: masks, speed, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.types import ConfigError

__all__ = ["AddNoise", "SpecAugment", "SpecAugmentConfig", "SpeedPerturbation"]


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
        widest = (lengths * config.max_time_fraction).long().clamp(max=config.max_time_width)
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


@dataclass(frozen=True)
class SpeedPerturbation:
    """Plays an utterance faster or slower, pitch and all (Ko et al. 2015).

    Each call draws one of ``factors``; 1.1 makes the utterance a tenth faster.
    """

    factors: tuple[float, ...] = (0.9, 1.0, 1.1)

    def __post_init__(self) -> None:
        if not self.factors or not all(0.5 <= factor <= 2.0 for factor in self.factors):
            raise ConfigError(
                f"speed factors are {self.factors}", remedy="give numbers from 0.5 to 2"
            )

    def __call__(
        self, samples: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Map ``(N,)`` to about ``(N / factor,)``."""
        factor = float(rng.choice(np.asarray(self.factors)))
        if factor == 1.0:
            return samples
        return np.asarray(soxr.resample(samples, factor, 1.0, quality="HQ"), dtype=np.float32)


@dataclass(frozen=True)
class AddNoise:
    """Adds white noise at a random signal-to-noise ratio, to a share of the utterances."""

    min_snr_db: float = 10.0
    max_snr_db: float = 40.0
    probability: float = 0.5

    def __post_init__(self) -> None:
        if self.min_snr_db > self.max_snr_db or not 0.0 <= self.probability <= 1.0:
            raise ConfigError(
                f"noise from {self.min_snr_db} to {self.max_snr_db} dB with probability "
                f"{self.probability}",
                remedy="use min_snr_db <= max_snr_db and a probability in [0, 1]",
            )

    def __call__(
        self, samples: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Map ``(N,)`` to ``(N,)``."""
        if rng.random() >= self.probability:
            return samples
        power = float(np.mean(np.square(samples, dtype=np.float64)))
        snr = 10 ** (rng.uniform(self.min_snr_db, self.max_snr_db) / 10)
        noise = rng.standard_normal(len(samples)) * np.sqrt(power / snr)
        return np.asarray(samples + noise, dtype=np.float32)
