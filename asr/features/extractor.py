"""Waveforms to features: front end, deltas, CMVN, stacking. The same in training and use.

No value depends on the batch: frames lie wholly inside their utterance, deltas repeat the
utterance's own edge frames, and statistics are those of the utterance, its speaker or the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from asr.features._torchaudio import torchaudio
from asr.features.config import FeatureConfig
from asr.features.frontends import KaldiFrontEnd, LibrosaFrontEnd, TorchaudioFrontEnd
from asr.types import CorpusError

__all__ = ["FeatureConfig", "FeatureExtractor", "RunningStatistics"]

DELTA_WINDOW = 5  # frames of the regression, two on each side
MIN_STD = 1e-3  # of log energies; digital silence has none at all
PRIOR_SECONDS = 2.0  # of speech that running statistics take the corpus' to stand for

Frames = TypeVar("Frames", int, Tensor)
Labelled = tuple[Tensor, Tensor, Sequence[str | None] | None]  # waveforms, lengths, speakers


class FeatureExtractor(nn.Module):
    """Maps padded waveforms ``(B, N)`` to features ``(B, T, F)``; padding comes out as 0."""

    mean: Tensor
    inv_std: Tensor

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        self.front_end = _front_end(config)
        self.register_buffer("mean", torch.zeros(config.frame_size))
        self.register_buffer("inv_std", torch.ones(config.frame_size))
        self.speakers: dict[str, tuple[Tensor, Tensor]] = {}

    def forward(
        self, waveforms: Tensor, lengths: Tensor, speakers: Sequence[str | None] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return features ``(B, T, F)`` and their lengths ``(B,)``.

        Args:
            waveforms: ``(B, N)`` in [-1, 1] at the configured rate.
            lengths: valid samples ``(B,)``.
            speakers: names, for normalisation by speaker (CMVN per speaker); those without
                statistics, and None, use their utterance's.
        """
        return self.stack(*self.frames(waveforms, lengths, speakers))

    def frames(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        speakers: Sequence[str | None] | None = None,
        *,
        running: bool = False,
        warps: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return normalised (CMVN) frames ``(B, T, F0)`` before stacking, and their lengths.

        ``warps (B,)`` are factors of the mel filters' frequencies, for training (see
        :func:`asr.features.warp.warped_filters`).
        With ``running``, statistics of the utterance become those of its frames so far, as in a
        stream (see :class:`RunningStatistics`).
        """
        frames, lengths = self._raw(waveforms, lengths, warps)
        valid = _mask(frames, lengths)
        if running and self.has_running_statistics:
            mean, inv_std = self.running_statistics(len(frames)).add(frames)
        else:
            mean, inv_std = self._statistics(frames, lengths, valid, speakers)
        return ((frames - mean) * inv_std).masked_fill(~valid, 0.0), lengths

    def stack(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Join and thin out frames: ``(B, T, F0)`` to ``(B, T', F)``."""
        config = self.config
        if config.stack > 1:
            short = config.stack - frames.shape[1]
            if short > 0:
                frames = nn.functional.pad(frames, (0, 0, 0, short))
            frames = frames.unfold(1, config.stack, 1)  # (B, T - stack + 1, F0, stack)
            frames = frames.transpose(2, 3).flatten(2)  # (B, T - stack + 1, F)
        lengths = self.stacked(lengths)
        frames = frames[:, :: config.subsample]
        return frames.masked_fill(~_mask(frames, lengths), 0.0), lengths

    def num_frames(self, num_samples: Frames) -> Frames:
        """Frames of the result for a number of samples, or a tensor of them."""
        return self.stacked(self.unstacked(num_samples))

    def unstacked(self, num_samples: Frames) -> Frames:
        """Frames before stacking for a number of samples, or a tensor of them."""
        frames = 1 + (num_samples - self.config.frame_span) // self.config.hop_length
        return _at_least_zero(frames)

    def stacked(self, frames: Frames) -> Frames:
        """Frames of the result for a number of frames before stacking, or a tensor of them."""
        return _at_least_zero((frames - self.config.stack) // self.config.subsample + 1)

    @torch.no_grad()
    def fit_statistics(self, batches: Iterable[Labelled]) -> None:
        """Set the corpus' statistics and those of each speaker from batches of waveforms.

        Raises:
            CorpusError: there is not one frame to take them from.
        """
        total = self._fit_speakers(batches)
        if not total.count:
            raise CorpusError(
                "there are no frames to take statistics from",
                remedy="give recordings longer than one frame",
            )
        mean, inv_std = total.result()
        self.mean.copy_(mean)
        self.inv_std.copy_(inv_std)

    @torch.no_grad()
    def fit_speakers(self, batches: Iterable[Labelled]) -> None:
        """Set the statistics of each speaker, in the place of any others; not the corpus'."""
        self._fit_speakers(batches)

    def _fit_speakers(self, batches: Iterable[Labelled]) -> _Moments:
        """As :meth:`fit_speakers`; returns the sums over all."""
        total = _Moments(self.config.frame_size)
        speakers: dict[str, _Moments] = {}
        for waveforms, lengths, names in batches:
            frames, lengths = self._raw(waveforms, lengths)
            for b, length in enumerate(lengths.tolist()):
                values = frames[b, :length].double().cpu()
                total.add(values)
                if names is not None and (name := names[b]) is not None:
                    speakers.setdefault(name, _Moments(self.config.frame_size)).add(values)
        self.speakers = {name: sums.result() for name, sums in speakers.items() if sums.count}
        return total

    @property
    def has_running_statistics(self) -> bool:
        """Whether frames of a stream are normalised by what was heard so far."""
        return self.config.normalisation in ("utterance", "speaker")

    @property
    def knows_corpus(self) -> bool:
        """Whether the corpus' statistics have been set."""
        return bool(self.mean.any())

    def running_statistics(self, sequences: int) -> RunningStatistics:
        """Those at the beginning of so many streams, seeded by the corpus' statistics."""
        weight = PRIOR_SECONDS * 1000 / self.config.frame_shift_ms
        return RunningStatistics(self.mean, self.inv_std, weight, sequences)

    def _raw(
        self, waveforms: Tensor, lengths: Tensor, warps: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Frames with deltas before normalisation."""
        lengths = self.unstacked(lengths)
        short = self.config.frame_span - waveforms.shape[1]
        if short > 0:
            waveforms = nn.functional.pad(waveforms, (0, short))
        return self.with_deltas(self.base(waveforms, lengths, warps), lengths), lengths

    def base(self, waveforms: Tensor, lengths: Tensor, warps: Tensor | None = None) -> Tensor:
        """Frames ``(B, T, C)`` as the front end makes them, of ``waveforms (B, N)``."""
        # half precision cannot hold powers and their logarithms; training in it must not differ
        with torch.autocast(waveforms.device.type, enabled=False):
            frames: Tensor = self.front_end(waveforms, lengths, warps)
            return frames

    def with_deltas(self, base: Tensor, lengths: Tensor) -> Tensor:
        """``base (B, T, C)`` with lengths in frames ``(B,)`` and its differences, if configured."""
        parts = [base]
        with torch.autocast(base.device.type, enabled=False):
            for _ in range(self.config.deltas):
                parts.append(_deltas(parts[-1], lengths))
        return torch.cat(parts, dim=2)

    def fixed_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and inverse deviation that no utterance changes: the corpus', or none."""
        if self.config.normalisation == "none":
            return torch.zeros_like(self.mean), torch.ones_like(self.inv_std)
        return self.mean, self.inv_std

    def _statistics(
        self, frames: Tensor, lengths: Tensor, valid: Tensor, speakers: Sequence[str | None] | None
    ) -> tuple[Tensor, Tensor]:
        """Mean and inverse deviation that broadcast over ``frames``."""
        kind = self.config.normalisation
        if kind in ("none", "global"):
            return self.fixed_statistics()
        count = lengths.clamp(min=1).view(-1, 1, 1)
        mean = frames.masked_fill(~valid, 0.0).sum(1, keepdim=True) / count  # (B, 1, F0)
        squares = (frames - mean).masked_fill(~valid, 0.0).square().sum(1, keepdim=True)
        inv_std = 1 / (squares / count).sqrt().clamp(min=MIN_STD)
        if kind == "speaker" and speakers is not None:
            for b, name in enumerate(speakers):
                if name is not None and name in self.speakers:
                    mean[b, 0], inv_std[b, 0] = self.speakers[name]
        return mean, inv_std


class RunningStatistics:
    """Mean and deviation of each of several streams up to each of its frames.

    At the beginning they are the corpus', which then weigh as much as ``weight`` frames of the
    stream. Frames may come in any pieces: the result is the same to the bit.

    Args:
        mean: of the corpus ``(F0,)``.
        inv_std: one over the corpus' deviation ``(F0,)``.
        weight: of both, in frames.
        sequences: how many streams, B.
    """

    def __init__(self, mean: Tensor, inv_std: Tensor, weight: float, sequences: int) -> None:
        mean, variance = mean.double(), inv_std.double().reciprocal().square()
        prior = torch.stack([mean, variance + mean.square()]) * weight  # (2, F0)
        self.sums = prior.repeat(sequences, 1, 1, 1)  # (B, 1, 2, F0), of values and squares
        self.count = weight

    def copy(self) -> RunningStatistics:
        """The same, to go on from here apart."""
        return copy(self)  # sums are replaced, never changed

    def forget(self, frames: float) -> None:
        """Let all that was heard so far weigh no more than so many frames."""
        if self.count > frames:
            self.sums, self.count = self.sums * (frames / self.count), frames

    def add(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Take in ``frames (B, T, F0)``; return mean and inverse deviation ``(B, T, F0)``."""
        values = torch.stack([frames.double(), frames.double().square()], dim=2)  # (B, T, 2, F0)
        sums = torch.cat([self.sums, values], dim=1).cumsum(dim=1)[:, 1:]
        counts = self.count + torch.arange(1, frames.shape[1] + 1, device=frames.device)
        mean, squares = (sums / counts.view(-1, 1, 1)).unbind(dim=2)
        std = (squares - mean.square()).clamp(min=0).sqrt().clamp(min=MIN_STD)
        if frames.shape[1]:
            self.sums, self.count = sums[:, -1:], float(counts[-1])
        return mean.float(), std.reciprocal().float()


class _Moments:
    """Running sums for a mean and a deviation, in float64."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.sum = torch.zeros(size, dtype=torch.float64)
        self.squares = torch.zeros(size, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        self.count += len(values)
        self.sum += values.sum(0)
        self.squares += values.square().sum(0)

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and inverse deviation, float32."""
        mean = self.sum / max(1, self.count)
        variance = (self.squares / max(1, self.count) - mean.square()).clamp(min=0)
        return mean.float(), (1 / variance.sqrt().clamp(min=MIN_STD)).float()


def _front_end(config: FeatureConfig) -> nn.Module:
    if config.style == "kaldi":
        return KaldiFrontEnd(config)
    return LibrosaFrontEnd(config) if config.backend == "librosa" else TorchaudioFrontEnd(config)


def _mask(frames: Tensor, lengths: Tensor) -> Tensor:
    """True where a frame is valid, ``(B, T, 1)``."""
    t = torch.arange(frames.shape[1], device=frames.device)
    return (t < lengths.unsqueeze(1)).unsqueeze(2)


def _deltas(frames: Tensor, lengths: Tensor) -> Tensor:
    """Regression slope over five frames; the first and last valid frame repeat beyond the ends."""
    t = torch.arange(frames.shape[1], device=frames.device)
    source = torch.minimum(t, (lengths - 1).clamp(min=0).unsqueeze(1))  # (B, T)
    held = frames.gather(1, source.unsqueeze(2).expand_as(frames))
    slopes: Tensor = torchaudio.functional.compute_deltas(
        held.transpose(1, 2), win_length=DELTA_WINDOW
    )
    return slopes.transpose(1, 2)


def _at_least_zero(count: Frames) -> Frames:
    return count.clamp(min=0) if isinstance(count, Tensor) else max(0, count)
