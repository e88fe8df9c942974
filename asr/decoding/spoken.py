"""Words whose pronunciations are known: which of them were said, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from asr.decoding.lexicon import Labels
from asr.decoding.spans import Span, chunk_length, silence
from asr.tokens import BLANK_ID

__all__ = ["Spoken", "best_spoken"]

NO_WORD = -1


@dataclass(frozen=True)
class Spoken:
    """The best path through the pronunciations of words.

    Attributes:
        score: its log-probability.
        words: the spans of each word's tokens, in the pronunciation that was found.
    """

    score: float
    words: tuple[tuple[Span, ...], ...]


def best_spoken(
    log_probs: NDArray[np.float32],
    pronunciations: Sequence[Sequence[Labels]],
    silences: Sequence[int] = (),
) -> Spoken | None:
    """The most probable path of ``log_probs (T, V)`` that says each word in one of its ways.

    Viterbi over all pronunciations at once, with blanks, or one of ``silences``, at the ends and
    between words. None: the frames are too few, or no path is possible.

    Args:
        log_probs: natural logarithms, blank first.
        pronunciations: of each word, one or more; none of them is empty.
        silences: tokens that say no more than a blank, where they are in no word.
    """
    from asr.decoding.recursions import advance_graph, trace_graph

    graph = _Graph(pronunciations, gap=log_probs.shape[1])
    states, starts, sources = graph.arrays()
    quiet = silence(log_probs, list(silences))[:, None]
    frames = np.ascontiguousarray(np.hstack([log_probs, quiet]), dtype=np.float32)  # (T, V + 1)
    T = len(frames)
    length = chunk_length(T, 2 * len(states))
    score = np.full(len(states), -np.inf)
    score[0] = 0.0  # only the first gap and the first tokens are in reach
    befores = [score]  # as in best_alignment, back-pointers are made by chunk, the last one first
    none = np.empty((0, 0), dtype=np.uint16)
    for t in range(0, T - length, length):
        befores.append(
            advance_graph(frames[t : t + length], states, starts, sources, befores[-1], none)
        )
    path = np.empty(T, dtype=np.int64)
    state, best = -1, -np.inf
    for t in reversed(range(0, T, length)):
        chunk = frames[t : t + length]
        came_by = np.zeros((len(chunk), len(states)), dtype=np.uint16)
        score = advance_graph(chunk, states, starts, sources, befores.pop(), came_by)
        if state < 0:
            state = max(graph.finals, key=score.__getitem__)
            best = float(score[state])
        state = trace_graph(came_by, starts, sources, path[t : t + length], state)
    if not np.isfinite(best):
        return None
    return Spoken(best, graph.spans(path))


class _Graph:
    """The states in which words are said: their tokens with blanks between, and gaps around."""

    def __init__(self, pronunciations: Sequence[Sequence[Labels]], gap: int) -> None:
        self._gap = gap
        self._states: list[int] = []
        self._words: list[int] = []  # of each state
        self._sources: list[list[int]] = []
        ends: list[int] = []
        before = self._add(gap, NO_WORD, [])
        for word, ways in enumerate(pronunciations):
            last = [self._say(word, way, before, ends) for way in ways]
            before = self._add(gap, NO_WORD, last)
            ends = last
        self.finals = [before, *ends]

    def _add(self, token: int, word: int, sources: Sequence[int]) -> int:
        state = len(self._states)
        self._states.append(token)
        self._words.append(word)
        self._sources.append([state, *sources])
        return state

    def _say(self, word: int, way: Labels, gap: int, ends: Sequence[int]) -> int:
        """Add one pronunciation behind a gap and the ends of the word before; returns its end."""
        last = self._add(way[0], word, [gap, *self._others(way[0], ends)])
        for token in way[1:]:
            blank = self._add(BLANK_ID, NO_WORD, [last])
            last = self._add(token, word, [blank, *self._others(token, [last])])
        return last

    def _others(self, token: int, states: Sequence[int]) -> list[int]:
        """Those of ``states`` that need no blank before ``token``: equal neighbours do."""
        return [state for state in states if self._states[state] != token]

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For :func:`asr.decoding.recursions.advance_graph`."""
        starts = np.cumsum([0, *map(len, self._sources)], dtype=np.int64)
        flat = [source for sources in self._sources for source in sources]
        return np.array(self._states), starts, np.array(flat, dtype=np.int64)

    def spans(self, path: NDArray[np.int64]) -> tuple[tuple[Span, ...], ...]:
        """The spans of each word in a ``path`` of one state a frame."""
        found: dict[int, list[Span]] = {}
        t = 0
        for state, run in groupby(path.tolist()):
            count = len(list(run))
            if self._words[state] != NO_WORD:
                found.setdefault(self._words[state], []).append((self._states[state], t, t + count))
            t += count
        return tuple(tuple(found[word]) for word in range(len(found)))
