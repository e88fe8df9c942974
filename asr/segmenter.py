"""Recordings of any length, cut at pauses into segments that the network reads one by one.

A window of audio is computed, and cut where it is most likely that nobody speaks: where the network
says blanks and the level is low. What is left of the window begins the next one. Memory holds one
window, and every segment is read with what follows it in view.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asr.decoding.inputs import check_possible
from asr.live.levels import FrameLevels
from asr.options import SEGMENT_SECONDS
from asr.tokens import BLANK_ID
from asr.types import ConfigError

__all__ = ["LONGEST", "SHORTEST", "Piece", "SegmentOptions", "Segmenter"]

SHORTEST, LONGEST = 1.0, 3600.0  # seconds that may be asked for
PAUSE_SECONDS = 0.5  # a cut is in the middle of so much silence, if there is any
AS_GOOD = 0.95  # of the best pause: of those as good, the last is taken, for longer segments
RANGE_DB = 30.0  # from the level of noise to that of speech, at least


@dataclass(frozen=True)
class SegmentOptions:
    """How long the segments of a long recording are, in seconds.

    Attributes:
        min_seconds: no segment is shorter, but the last.
        max_seconds: none is longer, and a recording no longer than that is one segment.
    """

    min_seconds: float = SEGMENT_SECONDS / 3
    max_seconds: float = SEGMENT_SECONDS

    def __post_init__(self) -> None:
        if not SHORTEST <= self.min_seconds < self.max_seconds <= LONGEST:
            raise ConfigError(
                f"segments of {self.min_seconds:g} to {self.max_seconds:g} s",
                remedy="give the shortest, 1 s or more, and the longest, 3600 s or less",
            )


@dataclass(frozen=True, eq=False)
class Piece:
    """One segment: log-probabilities ``(T, V)``, samples ``(N,)``, and where it is in seconds."""

    log_probs: Tensor
    samples: NDArray[np.float32]
    start: float
    end: float


class Segmenter:
    """Cuts one recording.

    The caller pushes audio, computes the log-probabilities of :meth:`window` whenever that
    :attr:`is_ready`, and gives them to :meth:`cut`, until the recording has ended and no window is
    ready. The pieces that audio comes in change nothing.

    Args:
        options: how long segments are.
        sample_rate: in hertz.
        frame_samples: samples from one row of the log-probabilities to the next.
        silences: tokens that say nothing, beside the blank: the space between words.
    """

    def __init__(
        self,
        options: SegmentOptions,
        sample_rate: int,
        frame_samples: int,
        silences: Sequence[int] = (),
    ) -> None:
        self._rate = sample_rate
        self._step = frame_samples
        self._silences = [BLANK_ID, *silences]
        self._least = int(options.min_seconds * sample_rate) // frame_samples  # frames
        self._most = int(options.max_seconds * sample_rate) // frame_samples * frame_samples
        self._blocks: deque[NDArray[np.float32]] = deque()
        self._held = 0  # samples in them
        self._start = 0  # number of the first of them
        self._ended = False

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take in ``samples (N,)``, which must not change any more."""
        for start in range(0, len(samples), self._most):  # so that no more than that is joined
            self._blocks.append(samples[start : start + self._most])
        self._held += len(samples)

    def end(self) -> None:
        """No more samples will come."""
        self._ended = True

    @property
    def is_ready(self) -> bool:
        """Whether there is audio enough for a window, or the recording's last waits."""
        return self._held > self._most or (self._ended and self._held > 0)

    @property
    def is_whole(self) -> bool:
        """Whether the window that is ready is the whole recording."""
        return self._start == 0 and self._ends_here

    @property
    def _ends_here(self) -> bool:
        """Whether no more than a window is left."""
        return self._ended and self._held <= self._most

    def window(self) -> NDArray[np.float32]:
        """The samples to compute next ``(N,)``."""
        parts = [self._blocks.popleft()]
        count = len(parts[0])
        while self._blocks and count < self._most:
            parts.append(self._blocks.popleft())
            count += len(parts[-1])
        joined = np.concatenate(parts) if len(parts) > 1 else parts[0]
        self._blocks.appendleft(joined)
        return joined[: self._most]

    def cut(self, log_probs: Tensor) -> Piece:
        """The segment that the last window begins with.

        Args:
            log_probs: of the window, ``(T, V)``; none, ``(0, V)``, if it holds nothing to compute.
                The segment is all of it then.

        Raises:
            DecodingError: a frame has a NaN or an infinity above zero, or leaves no token possible.
        """
        log_probs = log_probs.float()
        window = self.window()
        frames = len(log_probs)
        if frames:
            best = log_probs.amax(dim=1).numpy()
            check_possible(best, "the recording", self._start // self._step)
        if not self._ends_here and frames > self._least:
            frames = self._place(log_probs, window)
        size = len(window) if frames == len(log_probs) else frames * self._step
        piece = Piece(
            log_probs[:frames],
            window[:size],
            self._start / self._rate,
            (self._start + size) / self._rate,
        )
        rest = self._blocks.popleft()[size:]
        if len(rest):
            self._blocks.appendleft(rest.copy())  # so that what was cut off is not kept in memory
        self._held -= size
        self._start += size
        return piece

    def _place(self, log_probs: Tensor, window: NDArray[np.float32]) -> int:
        """The frame to cut at."""
        levels = FrameLevels(self._step)
        levels.push(window)
        decibels = np.maximum(levels.take(len(log_probs)), -100.0)
        low = float(np.percentile(decibels, 5))
        high = max(float(np.percentile(decibels, 95)), low + RANGE_DB)
        quiet = 1.0 - np.clip((decibels - low) / (high - low), 0.0, 1.0)  # (T,)
        silent = log_probs[:, self._silences].exp().sum(dim=1).numpy()  # (T,)
        width = 2 * round(PAUSE_SECONDS * self._rate / self._step / 2) + 1
        pause = np.convolve(quiet * silent, np.full(width, 1 / width), mode="same")[self._least :]
        return self._least + int(np.flatnonzero(pause >= AS_GOOD * pause.max())[-1])
