"""Mel filters, for vocal tracts of any length."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from asr.features.config import FeatureConfig

__all__ = ["VTLN_MARGIN_HIGH_HZ", "VTLN_MARGIN_LOW_HZ", "mel_filters", "warped_filters"]

# Nearer to the ends of the filters the axis is bent, so that the ends stay where they are. Kaldi's
# defaults, with its filters from 20 Hz to half the sample rate.
VTLN_MARGIN_LOW_HZ = 80.0
VTLN_MARGIN_HIGH_HZ = 500.0


def mel_filters(config: FeatureConfig) -> Tensor:
    """The filters of the default style, ``(n_fft // 2 + 1, M)``, which are torchaudio's."""
    return _filters(config, _edges(config, 1.0).unsqueeze(0)).squeeze(0)


def warped_filters(config: FeatureConfig, factors: Tensor) -> Tensor:
    """Mel filters ``(B, n_fft // 2 + 1, M)`` whose frequencies are warped by ``factors (B,)``.

    They are the filters of the default style, with their edges and centres moved along Kaldi's
    piecewise linear function (``MelBanks::VtlnWarpFreq``): a factor above 1 moves them down, so
    that a voice sounds as of a shorter vocal tract.
    """
    edges = torch.stack([_edges(config, factor) for factor in factors.tolist()])  # (B, M + 2)
    return _filters(config, edges.to(factors.device))


def _filters(config: FeatureConfig, edges: Tensor) -> Tensor:
    """Triangles ``(B, n_fft // 2 + 1, M)`` between ``edges (B, M + 2)``, as torchaudio has them."""
    highest = config.sample_rate // 2  # torchaudio drops half a hertz of odd rates
    hertz = torch.linspace(0, highest, config.n_fft // 2 + 1, device=edges.device)
    slopes = edges.unsqueeze(1) - hertz.view(1, -1, 1)  # (B, bins, M + 2)
    widths = edges.diff(dim=1).unsqueeze(1)  # (B, 1, M + 1)
    down = -slopes[..., :-2] / widths[..., :-1]
    up = slopes[..., 2:] / widths[..., 1:]
    return torch.minimum(down, up).clamp(min=0.0)


def _edges(config: FeatureConfig, factor: float) -> Tensor:
    """Edges and centres of the filters, ``(M + 2,)`` in hertz, evenly spaced on HTK's mel scale."""
    low, high = _mel(config.low_hz), _mel(config.top_hz)
    mels = torch.linspace(low, high, config.num_mels + 2)
    hertz = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    if factor == 1.0:
        return hertz
    bend = config.low_hz + VTLN_MARGIN_LOW_HZ, config.top_hz - VTLN_MARGIN_HIGH_HZ
    ends = config.low_hz, config.top_hz
    from asr.features._torchaudio import torchaudio

    warp: Any = torchaudio.compliance.kaldi.vtln_warp_freq
    warped: Tensor = warp(*bend, *ends, factor, hertz.clamp(*ends))  # rounding may pass the ends
    return warped


def _mel(hertz: float) -> float:
    return 2595.0 * math.log10(1.0 + hertz / 700.0)
