"""Features of audio that comes in pieces: frame for frame those of the whole."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from asr.features.extractor import FeatureExtractor, RunningStatistics

__all__ = ["DELTA_EDGE", "FeatureStream"]

DELTA_EDGE = 2  # frames that a difference reads on each side


class FeatureStream:
    """Features of one utterance whose samples come by and by.

    Frames are computed when they are asked for, in the groups in which they are asked for. Whoever
    asks for the same groups gets the same values to the bit, whatever the pieces of audio were.

    Statistics of the utterance are those of all frames that were taken; see
    :class:`asr.features.RunningStatistics`.
    """

    def __init__(self, extractor: FeatureExtractor) -> None:
        self.extractor = extractor
        self.config = extractor.config
        self.device = extractor.mean.device
        self._samples = torch.zeros(0)  # from the hop before the next frame
        self._fresh: deque[Tensor] = deque()  # those after them, in the pieces that they came in
        self._skip = 0  # samples of that hop: none before the first frame
        self._count = 0  # samples that have come
        self._base = torch.zeros(0, self.config.frame_size // (1 + self.config.deltas))
        self._base_start = 0  # number of the first frame in _base
        self._done = 0  # frames with deltas that have been given
        self._ended = False
        # Statistics of what was heard so far; whoever knows better may put others there.
        self.statistics: RunningStatistics | None = (
            extractor.running_statistics(1) if extractor.has_running_statistics else None
        )

    def push(self, samples: Tensor) -> None:
        """Take in ``samples (N,)`` at the configured rate."""
        self._fresh.append(samples.float())
        self._count += len(samples)

    def end(self) -> None:
        """No more samples will come."""
        self._ended = True

    @property
    def available(self) -> int:
        """How many frames of the utterance, before stacking, can be had by now."""
        frames = max(0, self.extractor.unstacked(self._count))
        return frames if self._ended else max(0, frames - self._edge)

    @property
    def _edge(self) -> int:
        return DELTA_EDGE * self.config.deltas

    def take(self, frames: int) -> Tensor:
        """The next frames ``(frames, F0)``, of which that many must be available.

        They are not normalised: see :meth:`normalised`.
        """
        if frames < 1:
            return torch.zeros(0, self.config.frame_size, device=self.device)
        with torch.inference_mode():
            raw = self._with_deltas(self._done + frames)
            self._done += frames
            if self.statistics is not None:
                self.statistics.add(raw[None], self.extractor.loudness(raw[None]))
            return raw

    def normalised(self, frames: Tensor) -> Tensor:
        """``frames (T, F0)`` by the statistics of all that was taken so far."""
        if self.statistics is None:
            mean, inv_std = self.extractor.fixed_statistics()
        else:
            mean, inv_std = (each[0] for each in self.statistics.current)  # (1, F0)
            frames = self.statistics.with_noise(frames[None])[0]
        return (frames - mean) * inv_std

    def _with_deltas(self, end: int) -> Tensor:
        """Frames from the next one to ``end``, before normalisation."""
        last = min(end + self._edge, max(0, self.extractor.unstacked(self._count)))
        self._read_base(last)
        first = max(0, self._done - self._edge)
        base = self._base[first - self._base_start : last - self._base_start]
        whole = self.extractor.with_deltas(base[None], torch.tensor([len(base)]))[0]
        keep = max(0, end - self._edge)
        self._base, self._base_start = self._base[keep - self._base_start :], keep
        return whole[self._done - first : end - first]

    def _read_base(self, end: int) -> None:
        """Compute base frames up to ``end``; samples that no later frame reads are let go."""
        have = self._base_start + len(self._base)
        if end <= have:
            return
        hop, span = self.config.hop_length, self.config.frame_span
        count = end - have + (self._skip > 0)
        samples = self._join((count - 1) * hop + span)
        fresh = self.extractor.base(samples[None].to(self.device), torch.tensor([len(samples)]))[0]
        self._base = torch.cat([self._base.to(self.device), fresh[int(self._skip > 0) :]])
        self._samples = self._samples[(count - 1) * hop :].clone()
        self._skip = hop

    def _join(self, count: int) -> Tensor:
        """The first ``count`` samples, or what there is of them.

        Only these are copied: a piece may be a whole recording.
        """
        parts, have = [self._samples], len(self._samples)
        while have < count and self._fresh:
            parts.append(self._fresh.popleft())
            have += len(parts[-1])
        if have > count and len(parts) > 1:
            whole = parts.pop()
            kept = len(whole) - (have - count)
            parts.append(whole[:kept])
            self._fresh.appendleft(whole[kept:])
        self._samples = torch.cat(parts)
        return self._samples[:count]
