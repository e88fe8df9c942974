"""Decoding by pieces: log-probabilities come while somebody speaks, and text goes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from asr.decoding.inputs import piece_frames
from asr.decoding.stopping import Stop
from asr.types import DecodingError, Hypothesis, TimedToken, Word

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DecoderStream", "Partial", "WholeStream", "check_open"]

Timed = TypeVar("Timed", TimedToken, Word)


@dataclass(frozen=True)
class Partial:
    """What has been said so far, as far as it can be known.

    Attributes:
        text: of the hypothesis that is the best by now.
        stable: its beginning that all hypotheses share. It is never retracted: each later partial
            and final text begins with it.
        stability: the probability, in [0, 1], that the words behind ``stable`` stay as they are; 1
            where there are none.
        end: seconds, where the frames end that were taken.
        words: of ``text``, if they were asked for; see :meth:`Hypothesis.timed_words`.
        stable_words: how many of ``words`` are in ``stable``.
    """

    text: str
    stable: str
    stability: float
    end: float
    words: tuple[Word, ...] = ()
    stable_words: int = 0


class DecoderStream(Protocol):
    """One utterance that is decoded by pieces. Pieces of any size give the same result, to the bit,
    as the whole at once.

    It belongs to one thread at a time. What a call refuses, it does not take: the stream goes on as
    if the call had not been made.
    """

    def push(self, log_probs: Tensor, *, words: bool = False) -> Partial:
        """Take the next frames ``(T, V)``, which may be none, and say what is known by now.

        ``words``: with the times of words and the confidence in them, which takes longer.

        Raises:
            DecodingError: the shape does not fit, values are broken, or the stream has finished.
            StoppedError: another thread asked for it by the ``stop`` of ``begin``.
        """
        ...

    def finish(self) -> list[Hypothesis]:
        """No more frames will come: return the hypotheses, best first, as ``Decoder.decode`` does.

        Raises:
            DecodingError: no text is possible, or the stream has finished before.
            StoppedError: another thread asked for it.
        """
        ...


class WholeStream:
    """A stream for a decoder that has to see the whole: it decodes when the stream finishes.

    Until then its partials have no text, and it keeps all frames.
    """

    def __init__(
        self,
        decode: Callable[[NDArray[np.float32], Stop], list[Hypothesis]],
        vocab_size: int,
        seconds_per_frame: float,
        stop: Stop | None,
        first_frame: int,
    ) -> None:
        self._decode = decode
        self._vocab_size = vocab_size
        self._seconds_per_frame = seconds_per_frame
        self._stop = stop or Stop()
        self._first_frame = first_frame
        self._pieces = [np.zeros((0, vocab_size), dtype=np.float32)]
        self._frames = 0
        self._finished = False

    def push(self, log_probs: Tensor, *, words: bool = False) -> Partial:
        """See :meth:`DecoderStream.push`; ``words`` there are none."""
        check_open(self._finished)
        self._stop.check()
        frames = piece_frames(log_probs, self._vocab_size, self._frames).copy()
        self._pieces.append(frames)
        self._frames += len(frames)
        return Partial("", "", 1.0, (self._first_frame + self._frames) * self._seconds_per_frame)

    def finish(self) -> list[Hypothesis]:
        """See :meth:`DecoderStream.finish`."""
        check_open(self._finished)
        found = self._decode(np.concatenate(self._pieces), self._stop)
        self._finished = True
        return [self._later(each) for each in found]

    def _later(self, found: Hypothesis) -> Hypothesis:
        """``found`` where the stream's first frame is not the first of all."""
        seconds = self._first_frame * self._seconds_per_frame

        def moved(part: Timed) -> Timed:
            return replace(part, start=part.start + seconds, end=part.end + seconds)

        tokens, words = tuple(map(moved, found.tokens)), tuple(map(moved, found.words))
        return replace(found, tokens=tokens, words=words)


def check_open(finished: bool) -> None:
    """Refuse to go on with a stream that has finished.

    Raises:
        DecodingError: it has.
    """
    if finished:
        raise DecodingError("the stream has finished", remedy="begin another stream")
