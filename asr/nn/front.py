"""Convolutions over frames and features, before the recurrent layers.

They are exact on ragged batches: what lies beyond an utterance's end is 0 wherever a filter reads,
as it is beyond the end of an utterance that is alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.options import is_integer
from asr.types import ConfigError

__all__ = ["ConvolutionalFront", "FrontOptions", "cut_frames", "mask_frames", "reduced"]

KERNEL = 3  # frames and features that a filter sees


@dataclass(frozen=True)
class FrontOptions:
    """Two-dimensional convolutions over frames and features, as in Deep Speech 2.

    Amodei et al., "Deep Speech 2: end-to-end speech recognition in English and Mandarin" (2015),
    section 3.5. Filters are 3 x 3, as in VGG (Simonyan & Zisserman 2014).

    Attributes:
        channels: filters of each convolution.
        time_strides: frames that each convolution goes on by; their product divides the number of
            frames.
        feature_stride: features that each convolution goes on by.
    """

    channels: tuple[int, ...] = (32, 32)
    time_strides: tuple[int, ...] = (2, 1)
    feature_stride: int = 2

    def __post_init__(self) -> None:
        for name in ("channels", "time_strides"):  # lists in JSON and YAML
            values = getattr(self, name)
            if not isinstance(values, list | tuple):
                raise ConfigError(
                    f"{name} are {str(values)[:100]}", remedy="give a list of integers"
                )
            object.__setattr__(self, name, tuple(values))
        if not self.channels or len(self.channels) != len(self.time_strides):
            raise ConfigError(
                f"the front has {len(self.channels)} channels and {len(self.time_strides)} time "
                "strides",
                remedy="give as many of each, one a convolution",
            )
        for name in ("channels", "time_strides"):
            values = getattr(self, name)
            if not all(is_integer(value) and value >= 1 for value in values):
                raise ConfigError(f"{name} are {values!r}", remedy="give integers from 1 up")
        if not is_integer(self.feature_stride) or self.feature_stride not in (1, 2):
            raise ConfigError(f"feature_stride is {self.feature_stride!r}", remedy="give 1 or 2")

    @property
    def reduction(self) -> int:
        """Frames that become one."""
        product = 1
        for stride in self.time_strides:
            product *= stride
        return product

    @property
    def halo(self) -> int:
        """Frames that an output reads on each side of the first of its own."""
        halo, step = 0, 1
        for stride in self.time_strides:
            halo += KERNEL // 2 * step
            step *= stride
        return halo

    def output_size(self, input_size: int) -> int:
        """Features a frame that come out of ``input_size``."""
        for _ in self.channels:
            input_size = -(-input_size // self.feature_stride)
        return self.channels[-1] * input_size


def reduced(lengths: Tensor, stride: int) -> Tensor:
    """Frames that remain of ``lengths`` where every ``stride``-th is taken, the first included."""
    return torch.div(lengths + stride - 1, stride, rounding_mode="floor")


def mask_frames(x: Tensor, lengths: Tensor) -> Tensor:
    """``x (B, T, ...)`` with zeros beyond ``lengths (B,)``."""
    valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]  # (B, T)
    return x.masked_fill(~valid.view(*valid.shape, *[1] * (x.dim() - 2)), 0.0)


def cut_frames(x: Tensor, lengths: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """The frames of each row of ``x (B, T, F)`` between the two of ``window (B, 2)``.

    Returns:
        ``(B, T, F)`` with anything beyond the lengths ``(B,)``, which come with it.
    """
    begin, end = window.unbind(dim=1)
    source = torch.arange(x.shape[1], device=x.device) + begin[:, None]  # (B, T)
    rows = torch.arange(len(x), device=x.device)[:, None]
    return x[rows, source.clamp(max=x.shape[1] - 1)], torch.minimum(lengths, end) - begin


class ConvolutionalFront(nn.Module):
    """Maps ``(B, T, F)`` to ``(B, ⌈T / reduction⌉, channels * F')``."""

    def __init__(self, input_size: int, options: FrontOptions) -> None:
        super().__init__()
        self.options = options
        self.output_size = options.output_size(input_size)
        inputs = (1, *options.channels[:-1])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(
                before, after, KERNEL, stride=(stride, options.feature_stride), padding=KERNEL // 2
            )
            for before, after, stride in zip(
                inputs, options.channels, options.time_strides, strict=True
            )
        )

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced frames, 0 beyond their lengths, and the lengths ``(B,)``."""
        if not features.shape[1]:
            return features.new_zeros(len(features), 0, self.output_size), lengths
        x = mask_frames(features, lengths).unsqueeze(1)  # (B, 1, T, F)
        for convolution, stride in zip(self.convolutions, self.options.time_strides, strict=True):
            x = F.relu(convolution(x))  # (B, C, ⌈T / stride⌉, ⌈F / stride⌉)
            lengths = reduced(lengths, stride)
            x = mask_frames(x.transpose(1, 2), lengths).transpose(1, 2)
        return x.transpose(1, 2).flatten(2), lengths  # (B, T, C * F)
