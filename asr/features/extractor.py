"""Waveforms to features: front end, deltas, CMVN, stacking. The same in training and use.

No value depends on the batch: frames lie wholly inside their utterance, deltas repeat the
utterance's own edge frames, and statistics are those of the utterance, its speaker or the corpus.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from asr.features.config import FeatureConfig
from asr.features.frontends import (
    KaldiFrontEnd,
    LibrosaFrontEnd,
    TorchaudioFrontEnd,
    power_floor,
)
from asr.features.statistics import MIN_STD, Moments, RunningStatistics, speech_weights, with_noise
from asr.features.voices import voice_changes
from asr.types import AudioError, CorpusError

__all__ = ["FeatureConfig", "FeatureExtractor", "RunningStatistics"]

DELTA_WINDOW = 5  # frames of the regression, two on each side
LEAST_POWER = 1e-10  # of a frame: -100 dB
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
        self,
        waveforms: Tensor,
        lengths: Tensor,
        speakers: Sequence[str | None] | None = None,
        may_change: Sequence[bool] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return features ``(B, T, F)`` and their lengths ``(B,)``.

        Args:
            waveforms: ``(B, N)`` in [-1, 1] at the configured rate.
            lengths: valid samples ``(B,)``.
            speakers: names, for normalisation by speaker (CMVN per speaker); those without
                statistics, and None, use their utterance's.
            may_change: of each, whether voices may change in it. What each voice says is then
                normalised as an utterance of its own.
        """
        return self.stack(*self.frames(waveforms, lengths, speakers, may_change=may_change))

    def frames(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        speakers: Sequence[str | None] | None = None,
        *,
        running: bool = False,
        warps: Tensor | None = None,
        may_change: Sequence[bool] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return normalised (CMVN) frames ``(B, T, F0)`` before stacking, and their lengths.

        ``warps (B,)`` are factors of the mel filters' frequencies, for training (see
        :func:`asr.features.warp.warped_filters`). For ``may_change`` see :meth:`forward`.
        With ``running``, statistics of the utterance become those of its frames so far (see
        :class:`RunningStatistics`), so that training sees what streams are normalised by.
        """
        frames, lengths = self._raw(waveforms, lengths, warps)
        valid = _mask(frames, lengths)
        if running and self.has_running_statistics:
            running_statistics = self.running_statistics(len(frames))
            mean, inv_std = running_statistics.add(frames, self.loudness(frames))
            frames = running_statistics.with_noise(frames)
        else:
            frames = with_noise(frames, self._loudest(frames, valid), self.config.range_db)
            mean, inv_std = self._statistics(frames, lengths, valid, speakers)
            changing = [b for b, may in enumerate(may_change or ()) if may and lengths[b] > 0]
            if changing and self.has_running_statistics:
                mean, inv_std = mean.expand_as(frames).clone(), inv_std.expand_as(frames).clone()
                for b in changing:
                    place = b, slice(int(lengths[b]))
                    mean[place], inv_std[place] = self._by_voice(waveforms[b], frames[place])
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

    def _fit_speakers(self, batches: Iterable[Labelled]) -> Moments:
        """As :meth:`fit_speakers`; returns the sums over all."""
        total = Moments(self.config.frame_size)
        speakers: dict[str, Moments] = {}
        for waveforms, lengths, names in batches:
            frames, lengths = self._raw(waveforms, lengths)
            for b, length in enumerate(lengths.tolist()):
                if not length:
                    continue
                values = frames[b, :length]
                values = with_noise(values, self.loudness(values).amax(0), self.config.range_db)
                loudness = self.loudness(values)
                weights = speech_weights(loudness, loudness.amax(0), self.config.silence_db)
                values, weights = values.double().cpu(), weights.double().cpu()
                total.add(values, weights)
                if names is not None and (name := names[b]) is not None:
                    speakers.setdefault(name, Moments(self.config.frame_size)).add(values, weights)
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
        """Those at the beginning of so many streams, seeded by the corpus' if they are known."""
        weight = PRIOR_SECONDS * 1000 / self.config.frame_shift_ms * self.knows_corpus
        config = self.config
        nothing = math.log(config.num_mels * power_floor(config))
        return RunningStatistics(
            *(self.mean, self.inv_std, weight, sequences),
            *(config.silence_db, config.range_db, nothing),
        )

    def _raw(
        self, waveforms: Tensor, lengths: Tensor, warps: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Frames with deltas before normalisation.

        Raises:
            AudioError: lengths are not whole numbers from 0 to N; values are looked at on the CPU.
        """
        most = waveforms.shape[1]
        fit = not lengths.is_floating_point() and lengths.shape == waveforms.shape[:1]
        if not fit or (lengths.is_cpu and bool(((lengths < 0) | (lengths > most)).any())):
            raise AudioError(
                f"lengths {lengths.tolist()} do not fit waveforms of shape "
                f"{tuple(waveforms.shape)}",
                remedy="give one whole number from 0 to N for each",
            )
        lengths = self.unstacked(lengths)
        if not len(waveforms):
            most = self.unstacked(max(most, self.config.frame_span))  # as of those too short
            return waveforms.new_zeros(0, most, self.config.frame_size), lengths
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

    def loudness(self, frames: Tensor) -> Tensor:
        """The natural logarithm of each frame's power, ``(..., T, 1)`` of ``(..., T, F0)``.

        It is that in the mel filters, which leave out a constant; of cepstra, the energy. It is 0
        where nothing asks for it: statistics are of all frames, and no noise is added.
        """
        config = self.config
        if config.silence_db is None and config.range_db is None:
            return frames.new_zeros(*frames.shape[:-1], 1)
        if config.kind == "fbank":
            return frames[..., : config.num_mels].logsumexp(-1, keepdim=True)
        return frames[..., config.num_ceps : config.num_ceps + 1]

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
        mean, inv_std = self._of_utterances(frames, valid)  # (B, 1, F0)
        if kind == "speaker" and speakers is not None:
            for b, name in enumerate(speakers):
                if name is not None and name in self.speakers:
                    mean[b, 0], inv_std[b, 0] = self.speakers[name]
        return mean, inv_std

    def _of_utterances(self, frames: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and inverse deviation ``(B, 1, F0)`` of the valid frames of each."""
        weights = self._weights(frames, valid)  # (B, T, 1)
        frames = frames.masked_fill(~valid, 0.0)
        count = weights.sum(1, keepdim=True).clamp(min=1.0)  # (B, 1, 1)
        mean = (frames * weights).sum(1, keepdim=True) / count  # (B, 1, F0)
        squares = ((frames - mean).square() * weights).sum(1, keepdim=True)
        return mean, 1 / (squares / count).sqrt().clamp(min=MIN_STD)

    def _by_voice(self, waveform: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and inverse deviation ``(T, F0)`` of the voice that each of ``frames (T, F0)`` is
        of; ``waveform (N,)``."""
        changes = voice_changes(
            frames.double().cpu().numpy(),
            self._level(waveform, frames).double().cpu().numpy(),
            self.config.frame_shift_ms / 1000,
        )
        statistics = []
        for part in frames.tensor_split(changes):
            one = part[None]
            mean, inv_std = self._of_utterances(
                one, torch.ones_like(one[..., :1], dtype=torch.bool)
            )
            statistics.append((mean[0].expand_as(part), inv_std[0].expand_as(part)))
        means, inv_stds = zip(*statistics, strict=True)
        return torch.cat(means), torch.cat(inv_stds)

    def _level(self, waveform: Tensor, frames: Tensor) -> Tensor:
        """How loud each frame is ``(T,)``, in nepers of power.

        The mean over mel filters tells consonants from pauses; cepstra have no such mean.
        """
        config = self.config
        if config.kind == "fbank":
            return frames[:, : config.num_mels].mean(dim=1)
        pieces = waveform.unfold(0, config.frame_span, config.hop_length)[: len(frames)]
        return pieces.var(dim=1, correction=0).clamp(min=LEAST_POWER).log()

    def _weights(self, frames: Tensor, valid: Tensor) -> Tensor:
        """How much each frame counts in its utterance's statistics, ``(B, T, 1)``."""
        if self.config.silence_db is None:
            return valid.to(frames.dtype)
        loudest = self._loudest(frames, valid)
        weights = speech_weights(self.loudness(frames), loudest, self.config.silence_db)
        return weights.masked_fill(~valid, 0.0)

    def _loudest(self, frames: Tensor, valid: Tensor) -> Tensor:
        """The loudness of each utterance's loudest frame, ``(B, 1, 1)``; -inf without frames."""
        loudness = self.loudness(frames).masked_fill(~valid, -torch.inf)
        return loudness.amax(1, keepdim=True)


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
    from asr.features._torchaudio import torchaudio

    t = torch.arange(frames.shape[1], device=frames.device)
    source = torch.minimum(t, (lengths - 1).clamp(min=0).unsqueeze(1))  # (B, T)
    held = frames.gather(1, source.unsqueeze(2).expand_as(frames))
    slopes: Tensor = torchaudio.functional.compute_deltas(
        held.transpose(1, 2), win_length=DELTA_WINDOW
    )
    return slopes.transpose(1, 2)


def _at_least_zero(count: Frames) -> Frames:
    return count.clamp(min=0) if isinstance(count, Tensor) else max(0, count)
