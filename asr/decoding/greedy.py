"""Best-path decoding: the most probable token of each frame (Graves et al. 2006, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.decoding.config import GreedyOptions
from asr.decoding.inputs import check_piece, check_possible, fitting_lengths
from asr.decoding.said import SaidTokens, StableText
from asr.decoding.spans import Span, running_sum, spelled
from asr.decoding.stability import GREEDY
from asr.decoding.stopping import Stop
from asr.decoding.stream import Partial, check_open
from asr.tokens import BLANK_ID, Tokenizer
from asr.types import Hypothesis

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GreedyDecoder"]


@dataclass(frozen=True)
class GreedyDecoder:
    """Takes the best token of every frame, merges repeats and drops blanks.

    The score is the log-probability of that one path, a lower bound of the labelling's.
    """

    options: GreedyOptions
    tokenizer: Tokenizer
    seconds_per_frame: float

    def begin(self, stop: Stop | None = None, *, first_frame: int = 0) -> GreedyStream:
        """See :meth:`asr.decoding.Decoder.begin`."""
        return GreedyStream(self.tokenizer, self.seconds_per_frame, stop, first_frame)

    def decode(
        self, log_probs: Tensor, lengths: Tensor, stop: Stop | None = None
    ) -> list[list[Hypothesis]]:
        """Return one hypothesis for each utterance of ``log_probs (B, T, V)``.

        The maxima are taken where the log-probabilities are, on a GPU perhaps; only they are
        copied.

        Raises:
            DecodingError: see :func:`asr.decoding.inputs.checked`.
            StoppedError: asked for by ``stop``.
        """
        counts = fitting_lengths(log_probs, lengths, self.tokenizer.size)
        best, path = log_probs.detach().max(dim=2)  # (B, T) both; of equals, the first
        scores, ids = best.float().cpu().numpy(), path.cpu().numpy()
        results = []
        for b, count in enumerate(counts):
            check_possible(scores[b, :count], f"utterance {b} of the batch")
            stream = self.begin(stop)
            stream.take(scores[b, :count], ids[b, :count])
            results.append(stream.finish())
        return results


class GreedyStream:
    """An utterance that is decoded by pieces: see :class:`asr.decoding.stream.DecoderStream`.

    All words but the last are stable, since a token once said is never taken back.
    """

    def __init__(
        self, tokenizer: Tokenizer, seconds_per_frame: float, stop: Stop | None, first_frame: int
    ) -> None:
        self._tokenizer = tokenizer
        self._seconds_per_frame = seconds_per_frame
        self._stop = stop or Stop()
        self._first = first_frame
        self._end = first_frame  # of the frames taken
        self._score = 0.0
        self._said = SaidTokens()
        # A separator at the beginning, or after another, is no part of the text.
        self._last_said = tokenizer.word_separator or BLANK_ID
        self._run = BLANK_ID  # the token of the last frames, which may go on
        self._run_start = first_frame
        self._run_peak = -np.inf
        self._stable = StableText(tokenizer)
        self._finished = False

    def push(self, log_probs: Tensor, *, words: bool = False) -> Partial:
        """See :meth:`asr.decoding.stream.DecoderStream.push`."""
        check_open(self._finished)
        check_piece(log_probs, self._tokenizer.size)
        best, path = log_probs.detach().max(dim=1)  # (T,) both; of equals, the first
        scores = best.float().cpu().numpy()
        check_possible(scores, "the stream", self._end - self._first)
        self.take(scores, path.cpu().numpy())
        return self._partial(words)

    def finish(self) -> list[Hypothesis]:
        """See :meth:`asr.decoding.stream.DecoderStream.finish`."""
        check_open(self._finished)
        self._stop.check()
        self._finished = True
        return [self._hypothesis()]

    def take(self, best: NDArray[np.float32], path: NDArray[np.int64]) -> None:
        """Take frames of which the best token ``path (T,)`` and its score ``best (T,)`` are known.

        Raises:
            StoppedError: see :meth:`asr.decoding.stream.DecoderStream.push`.
        """
        self._stop.check()
        if not len(path):
            return
        self._score = running_sum(self._score, best)
        begins = np.empty(len(path), dtype=np.bool_)  # of a run, in that frame
        begins[0] = path[0] != self._run
        np.not_equal(path[1:], path[:-1], out=begins[1:])
        edges = np.flatnonzero(begins)
        going_on = best[: edges[0]] if len(edges) else best
        if len(going_on):
            self._run_peak = max(self._run_peak, float(going_on.max()))
        if len(edges):
            self._end_runs(path[edges], edges + self._end, np.maximum.reduceat(best, edges))
        self._end += len(path)

    def _end_runs(
        self, ids: NDArray[np.int64], starts: NDArray[np.int64], peaks: NDArray[np.float32]
    ) -> None:
        """Take the runs that begin, all ``(E,)``; those before the last of them have ended."""
        spans = np.empty((len(ids), 3), dtype=np.int64)  # of the runs that have ended
        spans[0, :2] = self._run, self._run_start
        spans[1:, 0], spans[1:, 1], spans[:, 2] = ids[:-1], starts[:-1], starts
        highest = np.empty(len(ids))
        highest[0], highest[1:] = self._run_peak, peaks[:-1]
        self._run, self._run_start = int(ids[-1]), int(starts[-1])
        self._run_peak = float(peaks[-1])
        said = spans[:, 0] != BLANK_ID
        spans, highest = spans[said], highest[said]
        separator = self._tokenizer.word_separator
        if separator is not None and len(spans):
            again = spans[:, 0] == separator
            first = bool(again[0]) and self._last_said == separator
            self._last_said = int(spans[-1, 0])
            again[1:] &= again[:-1]
            again[0] = first
            spans, highest = spans[~again], highest[~again]
        self._said.append(spans, highest.tolist())

    def _spans(self) -> tuple[list[Span], list[float]]:
        """All tokens of the text so far, and the logarithm of the confidence in each."""
        spans, peaks = self._said.spans(), self._said.log_confidences.tolist()
        separator = self._tokenizer.word_separator
        if self._run not in (BLANK_ID, separator):
            spans.append((self._run, self._run_start, self._end))
            peaks.append(self._run_peak)
        elif spans and spans[-1][0] == separator:
            spans, peaks = spans[:-1], peaks[:-1]
        return spans, peaks

    def _hypothesis(self) -> Hypothesis:
        spans, peaks = self._spans()
        blank = self._score / max(1, self._end - self._first)  # asked for where all are blanks
        return spelled(spans, peaks, blank, self._score, self._tokenizer, self._seconds_per_frame)

    def _partial(self, words: bool) -> Partial:
        fresh = self._said.ids[self._stable.tokens :].tolist()
        quiet = self._end - self._said.ends[-1] if self._said else 0
        again = self._run == self._tokenizer.word_separator == self._last_said
        if self._run != BLANK_ID and not again:
            quiet = 0
            if self._stable.tokens <= len(self._said):  # else it is stable already
                fresh.append(self._run)
        text = self._stable.extend(fresh, len(fresh))
        is_stable = len(text) == len(self._stable.text)
        return Partial(
            text,
            self._stable.text,
            1.0 if is_stable else GREEDY(1.0, quiet * self._seconds_per_frame),
            self._end * self._seconds_per_frame,
            self._hypothesis().timed_words() if words else (),
            self._stable.words if words else 0,
        )
