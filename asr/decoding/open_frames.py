"""The frames of a stream that are still needed: those of tokens not yet said for good."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr.decoding.spans import Span, running_sum, silence
from asr.tokens import BLANK_ID

__all__ = ["OpenFrames"]

# A path of any other probability is better than one through a frame that is impossible, and
# a window of frames has some path, if it has enough of them.
IMPOSSIBLE = np.float32(-1e30)
EDGE = 16  # frames that a stretch of blanks keeps at either end


class OpenFrames:
    """Log-probabilities in rows ``(R, V)``, and which frames of the stream they are.

    ``silences`` are the tokens that say no more than a blank. In stretches of frames in which no
    token has at least the log-probability ``least``, nothing is said: they are shortened.
    """

    def __init__(self, vocab_size: int, silences: Sequence[int], least: float) -> None:
        self._none = np.zeros((0, vocab_size), dtype=np.float32)
        self._silences = silences
        self._least = least
        self._rows: list[NDArray[np.float32]] = []
        self._numbers: list[NDArray[np.int64]] = []
        self._frame = 0  # number of the next one
        self._gone = False  # whether any were let go
        self._quiet = 0.0  # the sum of silence over those

    def add(self, frames: NDArray[np.float32]) -> None:
        """Take the next frames, which are copied."""
        if len(frames):
            self._rows.append(np.maximum(frames, IMPOSSIBLE))
            self._numbers.append(np.arange(self._frame, self._frame + len(frames)))
            self._frame += len(frames)

    def all(self) -> NDArray[np.float32]:
        """All rows."""
        if len(self._rows) > 1:
            self._rows = [np.concatenate(self._rows)]
            self._numbers = [np.concatenate(self._numbers)]
        return self._rows[0] if self._rows else self._none

    def before(self, frame: int) -> int:
        """How many rows are before that frame."""
        return sum(int(np.searchsorted(numbers, frame)) for numbers in self._numbers)

    def frame_at(self, row: int) -> int:
        """Which frame that row is; of a row behind the last, the next one to come."""
        for numbers in self._numbers:
            if row < len(numbers):
                return int(numbers[row])
            row -= len(numbers)
        return self._frame

    def placed(self, spans: Sequence[Span], first: int = 0) -> list[Span]:
        """Spans of rows as spans of frames; ``first`` is the number of the stream's first frame."""
        if not (self._gone or first):
            return list(spans)
        numbers = np.concatenate(self._numbers).tolist() if self._numbers else []
        return [(k, first + numbers[a], first + numbers[b - 1] + 1) for k, a, b in spans]

    def drop(self, count: int) -> None:
        """Let go of the first ``count`` rows."""
        gone = np.zeros(len(self.all()), dtype=np.bool_)
        gone[:count] = True
        self._let_go(gone)

    def shorten(self) -> None:
        """Let go of the middle of long stretches in which nothing is said."""
        rows = self.all()
        others = np.delete(rows, BLANK_ID, axis=1).max(axis=1, initial=-np.inf)
        blank = (others < self._least) & (rows[:, BLANK_ID] >= others)
        # The middle is what has EDGE more of the kind on both sides.
        around = np.convolve(blank, np.ones(2 * EDGE + 1), mode="same")
        self._let_go(around == 2 * EDGE + 1)

    def blank(self) -> float:
        """The mean log-probability of silence in all frames of the stream, those let go as well."""
        total = running_sum(self._quiet, silence(self.all(), self._silences))
        return total / max(1, self._frame)

    def _let_go(self, gone: NDArray[np.bool_]) -> None:
        if not gone.any():
            return
        rows, [numbers] = self.all(), self._numbers
        self._quiet = running_sum(self._quiet, silence(rows[gone], self._silences))
        self._rows, self._numbers = [rows[~gone]], [numbers[~gone]]
        self._gone = True
