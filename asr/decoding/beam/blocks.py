"""Streams of beam search: two searches side by side, and what they agree upon said for good.

One search is of all paths, the other of the best path alone, which a narrow beam may lose. Both go
on frame by frame, so pieces make no difference. What is done now and then, is done after every
``BLOCK`` frames, whatever the pieces: labels that are settled get their times and are let go with
their frames. An utterance decoded at once is a stream of one piece.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.best_path import Scored, best_path_alone
from asr.decoding.beam.running import Labels, RunningSearch, begins_with, common_beginning
from asr.decoding.beam.sharing import MAX_OPEN
from asr.decoding.inputs import piece_frames
from asr.decoding.open_frames import OpenFrames
from asr.decoding.said import SaidTokens
from asr.decoding.stopping import Stop
from asr.decoding.stream import Partial, check_open
from asr.types import DecodingError, Hypothesis

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BLOCK", "GUARD", "BlockStream", "cut_between", "fitted"]

BLOCK = 256  # frames
AHEAD = 64  # frames behind those that go, which tell where these end
GUARD = 8  # frames before a token was first said that its alignment may use
MOST = MAX_OPEN + BLOCK  # rows kept in any case, also where a word went on for longer

Search = TypeVar("Search", bound=RunningSearch)
Found = TypeVar("Found")


class BlockStream(ABC, Generic[Search]):
    """See :class:`asr.decoding.stream.DecoderStream`.

    Args:
        main, path: the two searches, not begun.
        vocab_size: V.
        silences, least: see :class:`asr.decoding.open_frames.OpenFrames`.
        seconds_per_frame, stop, first_frame: see :meth:`asr.decoding.Decoder.begin`.
    """

    def __init__(
        self,
        main: Search,
        path: Search,
        vocab_size: int,
        silences: Sequence[int],
        least: float,
        seconds_per_frame: float,
        stop: Stop | None,
        first_frame: int,
    ) -> None:
        self._main = main
        self._path: Search | None = path
        self._vocab_size = vocab_size
        self._seconds_per_frame = seconds_per_frame
        self._stop = stop or Stop()
        self._first = first_frame
        self._frame = 0  # how many were taken
        self._open = OpenFrames(vocab_size, silences, least)
        self._said = SaidTokens()
        self._finished = False

    def push(self, log_probs: Tensor, *, words: bool = False) -> Partial:
        """See :meth:`asr.decoding.stream.DecoderStream.push`."""
        check_open(self._finished)
        self._stop.check()
        self._take(piece_frames(log_probs, self._vocab_size, self._frame), ends=False)
        return self._partial(words)

    def finish(self) -> list[Hypothesis]:
        """See :meth:`asr.decoding.stream.DecoderStream.finish`."""
        check_open(self._finished)
        self._stop.check()
        self._finished = True
        found = self.decode(np.zeros((0, self._vocab_size), dtype=np.float32))
        if not found:
            raise DecodingError(
                "in the stream no words of the lexicon are possible",
                remedy="set unk_score, or check that lexicon and model belong together",
            )
        return found

    def decode(self, frames: NDArray[np.float32]) -> list[Hypothesis]:
        """Take the last frames ``(T, V)``; the hypotheses, none where nothing is possible."""
        return [self._hypothesis(each) for each in self.search(frames)]

    def search(self, frames: NDArray[np.float32]) -> list[Scored]:
        """Take the last frames ``(T, V)``; what was found, best first.

        Raises:
            StoppedError: asked for by the ``stop`` of ``begin``.
        """
        found, alone = self._take(frames, ends=True)
        return self._ranked(found, alone)

    def _take(
        self, frames: NDArray[np.float32], *, ends: bool
    ) -> tuple[list[Scored], list[Scored]]:
        """What the searches find, if these are the last frames: of all paths, and of the best."""
        while True:
            if self._frame and self._frame % BLOCK == 0 and len(frames):
                self._settle()
            room = BLOCK - self._frame % BLOCK
            piece, frames = frames[:room], frames[room:]
            last = ends and not len(frames)
            self._open.add(piece)
            self._frame += len(piece)
            found = self._advance(self._main, piece, ends=last)
            alone: list[Scored] = []
            if self._path is not None:
                alone = self._advance(self._path, best_path_alone(piece), ends=last)
            if not len(frames):
                return found, alone

    def _leader(self) -> Search | None:
        """The search whose best prefix is the text by now; None where nothing is possible."""
        if self._main.possible:
            return self._main
        path = self._path
        if path is None or not path.possible:
            return None
        return path if begins_with(path.spell(path.best_row), self._main.settled()) else None

    def _shared(self, leader: Search) -> Labels:
        """What every hypothesis begins with from now on."""
        shared, path = leader.shared(), self._path
        if path is None or path is leader or not path.possible:
            return shared
        settled = leader.settled()
        return max(settled, common_beginning(shared, path.shared()), key=len)

    def _settle(self) -> None:
        """Say for good what is settled; let go of its frames, and of what was given up.

        All open frames are aligned for it, so half of them have to be worth it: then no frame is
        aligned more than a few times.
        """
        leader = self._leader()
        if leader is None:
            self._path = None
            self._open.drop(self._open.before(self._frame))
            return
        if leader is self._path:
            self._main, self._path = leader, None
        rows = self._open.before(self._frame)
        if 2 * self._open.before(leader.oldest_unsettled() - GUARD) < rows <= 2 * MOST:
            return
        path = self._path
        if path is not None and not (path.possible and path.restrict(leader.settled())):
            self._path = path = None
        self._open.shorten()
        least = self._open.before(self._frame) - MOST  # rows that go in any case
        if path is not None and self._limit([path], leader) < least:
            # They have differed for so long that only one can go on: the better one.
            if path.best_rank > leader.best_rank:
                leader = self._main = path
            self._path = path = None
        settled = leader.settled()
        searches = [leader] if path is None else [leader, path]
        limit = max(least, self._limit(searches, leader))
        near = max(len(settled), leader.said_by(self._open.frame_at(limit + AHEAD)))
        count, end = self._say(leader, len(settled), near, limit)
        for search in searches:
            search.forget(count)
        self._open.drop(end)

    def _limit(self, searches: Sequence[Search], leader: Search) -> int:
        """How many rows come before all that these say beyond what ``leader`` has settled."""
        count = len(leader.settled())
        return self._open.before(min(each.oldest_open(count) for each in searches) - GUARD)

    @abstractmethod
    def _advance(self, search: Search, frames: NDArray[np.floating], *, ends: bool) -> list[Scored]:
        """Let ``search`` take ``frames``; what it finds, if it ends."""

    @abstractmethod
    def _ranked(self, found: list[Scored], alone: list[Scored]) -> list[Scored]:
        """What is given of what was found among all paths and in the best one alone."""

    @abstractmethod
    def _hypothesis(self, found: Scored) -> Hypothesis:
        """A result with all that was said before."""

    @abstractmethod
    def _partial(self, words: bool) -> Partial:
        """What is known by now."""

    @abstractmethod
    def _say(self, leader: Search, settled: int, near: int, limit: int) -> tuple[int, int]:
        """Align the first ``near`` labels of the best prefix with the open frames, and say for good
        those of its first ``settled`` ones that end by row ``limit``.

        Returns how many these are, and how many rows may go.
        """


def fitted(
    find: Callable[[NDArray[np.float32]], list[Found]], rows: NDArray[np.float32], tokens: int
) -> tuple[list[Found], int]:
    """The path that ``find`` finds for so many ``tokens`` at most in ``rows (R, V)``, and in how
    many frames each row was given.

    That is one, unless tokens said for good have taken rows that those behind them need: several
    then share a row, and none is lost.
    """
    times, found = 1, find(rows)
    while not found and 0 < len(rows) * times <= 2 * tokens:  # each with a blank behind it
        times *= 2
        found = find(np.repeat(rows, times, axis=0))
    return found, times


def cut_between(before: int, after: int | None, limit: int) -> int:
    """Where to cut between a label that ends and one that starts, if any does: in the middle, by
    ``limit``."""
    middle = limit if after is None else (before + after + 1) // 2
    return max(before, min(middle, limit))
