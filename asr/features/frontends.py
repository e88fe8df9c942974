"""Base features of a padded batch of waveforms: log-mel energies or cepstra, frame by frame.

Three front ends behind one call, ``(waveforms (B, N), lengths (B,)) -> (B, T, C)``: torchaudio's
(batched, any device), librosa (numpy in float64, the reference) and Kaldi's recipe. A frame is a
window of samples that lies wholly inside the utterance, so no frame sees padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.extras import import_extra
from asr.features.config import FeatureConfig
from asr.features.warp import (
    VTLN_MARGIN_HIGH_HZ,
    VTLN_MARGIN_LOW_HZ,
    mel_filters,
    warped_filters,
)
from asr.types import ConfigError

__all__ = ["KaldiFrontEnd", "LibrosaFrontEnd", "TorchaudioFrontEnd", "power_floor"]

POWER_FLOOR = 1e-7  # below the quantisation noise of 16 bits; keeps log finite in digital silence
RANGE_POWER_FLOOR = 1e-12  # the same where noise is added (``range_db``), which is louder
KALDI_SCALE = 32768.0  # Kaldi's samples are 16-bit integers
KALDI_POWER_FLOOR = torch.finfo(torch.float32).eps  # of torchaudio.compliance.kaldi


class TorchaudioFrontEnd(nn.Module):
    """Features as torchaudio's functions give them, batched, on the device of the waveforms.

    Energies come from torch alone, so that they do not wait for torchaudio to be loaded.
    """

    window: Tensor
    mel: Tensor
    dct: Tensor

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(config.win_length), persistent=False)
        self.register_buffer("mel", mel_filters(config), persistent=False)
        if config.kind == "mfcc":
            self.register_buffer("dct", _dct(config), persistent=False)

    def forward(self, waveforms: Tensor, lengths: Tensor, warps: Tensor | None = None) -> Tensor:
        """Map ``(B, N)`` to ``(B, T, C)``, by mel filters warped by ``warps (B,)``."""
        config = self.config
        x = waveforms.float()
        if config.preemphasis:
            x = torch.cat([x[:, :1], x[:, 1:] - config.preemphasis * x[:, :-1]], dim=1)
        spectrum = torch.stft(
            x,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            win_length=config.win_length,
            window=self.window,
            center=False,
            return_complex=True,
        )
        # Squares of real and imaginary parts beside each other: half the time of a magnitude's.
        parts = torch.view_as_real(spectrum.transpose(1, 2).contiguous()).flatten(2)
        filters = self.mel if warps is None else warped_filters(config, warps)
        power = parts.square() @ filters.repeat_interleave(2, dim=-2)  # (B, T, num_mels)
        features = power.clamp(min=power_floor(config)).log()
        if config.kind == "mfcc":
            features = features @ self.dct  # (B, T, num_ceps)
        if config.energy:
            frames = x.unfold(1, config.n_fft, config.hop_length)  # (B, T, n_fft)
            energy = frames.square().sum(2, keepdim=True).clamp(min=POWER_FLOOR).log()
            features = torch.cat([features, energy], dim=2)
        return features


def power_floor(config: FeatureConfig) -> float:
    """The least power of a filter that a logarithm is taken of: that of digital silence."""
    if config.style == "kaldi":
        return KALDI_POWER_FLOOR
    return POWER_FLOOR if config.range_db is None else RANGE_POWER_FLOOR


def _dct(config: FeatureConfig) -> Tensor:
    """What makes cepstra of energies, ``(num_mels, num_ceps)``; the zeroth is left out."""
    from asr.features._torchaudio import torchaudio

    dct: Tensor = torchaudio.functional.create_dct(
        config.num_ceps + 1, config.num_mels, norm="ortho"
    )
    return dct[:, 1:]


def _librosa() -> Any:
    """The package, which brings scipy and scikit-learn: who has another front end needs none."""
    return import_extra("librosa", "librosa", "features of the backend librosa")


class LibrosaFrontEnd(nn.Module):
    """The same features by librosa in float64, utterance by utterance.

    Raises:
        MissingPackageError: librosa is not installed.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        _librosa()  # to fail here rather than at the first utterance

    def forward(self, waveforms: Tensor, lengths: Tensor, warps: Tensor | None = None) -> Tensor:
        """Map ``(B, N)`` to ``(B, T, C)``.

        Raises:
            ConfigError: ``warps`` are given.
        """
        if warps is not None:
            raise ConfigError(
                "the librosa backend has no warped filters",
                where="vocal_tract",
                remedy="train with --model.features.backend torchaudio",
            )
        rows = [self._one(row) for row in waveforms.double().cpu().numpy()]
        return torch.from_numpy(np.stack(rows)).float().to(waveforms.device)

    def _one(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        config, librosa = self.config, _librosa()
        if config.preemphasis:
            x = np.concatenate([x[:1], x[1:] - config.preemphasis * x[:-1]])
        power = librosa.feature.melspectrogram(
            y=x,
            sr=config.sample_rate,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            win_length=config.win_length,
            center=False,
            n_mels=config.num_mels,
            fmin=config.low_hz,
            fmax=config.top_hz,
            htk=True,
            norm=None,
            dtype=np.float64,
        )  # (num_mels, T)
        features = np.log(np.maximum(power, power_floor(config)))
        if config.kind == "mfcc":
            features = librosa.feature.mfcc(S=features, n_mfcc=config.num_ceps + 1, norm="ortho")
            features = features[1:]
        if config.energy:
            frames = librosa.util.frame(x, frame_length=config.n_fft, hop_length=config.hop_length)
            energy = np.log(np.maximum((frames**2).sum(axis=0), POWER_FLOOR))
            features = np.vstack([features, energy])
        return np.asarray(features.T)


class KaldiFrontEnd(nn.Module):
    """Kaldi's features without dither, by ``torchaudio.compliance.kaldi``; energy comes last."""

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, waveforms: Tensor, lengths: Tensor, warps: Tensor | None = None) -> Tensor:
        """Map ``(B, N)`` to ``(B, T, C)``, by mel filters warped by ``warps (B,)``."""
        factors = [1.0] * len(waveforms) if warps is None else warps.tolist()
        rows = [
            self._one(row, factor) for row, factor in zip(waveforms.float(), factors, strict=True)
        ]
        return torch.stack(rows)

    def _one(self, x: Tensor, warp: float) -> Tensor:
        from asr.features._torchaudio import torchaudio

        config = self.config
        milliseconds = 1000 / config.sample_rate
        options = {
            "sample_frequency": float(config.sample_rate),
            # half a sample more, since these are cut to whole samples where ours are rounded
            "frame_length": (config.win_length + 0.5) * milliseconds,
            "frame_shift": (config.hop_length + 0.5) * milliseconds,
            "num_mel_bins": config.num_mels,
            "low_freq": config.low_hz,
            "high_freq": config.top_hz,
            "preemphasis_coefficient": config.preemphasis,
            "dither": 0.0,
            "vtln_warp": warp,
            "vtln_low": config.low_hz + VTLN_MARGIN_LOW_HZ,
            "vtln_high": config.top_hz - VTLN_MARGIN_HIGH_HZ,
            "use_energy": config.energy,
        }
        x = (x * KALDI_SCALE).unsqueeze(0)  # (1, N)
        features: Tensor
        if config.kind == "mfcc":
            features = torchaudio.compliance.kaldi.mfcc(
                x, num_ceps=config.num_ceps + 1, **options
            )  # energy, if used, stands in for the zeroth coefficient
        else:
            features = torchaudio.compliance.kaldi.fbank(x, **options)
        if config.energy:
            return torch.cat([features[:, 1:], features[:, :1]], dim=1)
        return features[:, 1:] if config.kind == "mfcc" else features
