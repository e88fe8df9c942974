"""The best path of CTC that says given words, in any of their ways: when each was said, and how.

Viterbi over a small machine that is made for the words: a chain of states for each pronunciation,
and between words a gap, which holds blanks and silences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled
from asr.decoding.lexicon import Labels
from asr.decoding.spans import chunk_length
from asr.decoding.stopping import Stop
from asr.tokens import BLANK_ID

__all__ = ["Said", "best_word_path"]

GAP = -1  # the word of states between words


class Said(NamedTuple):
    """A token that was said from frame ``start`` to before ``end``, and in which of the words; GAP
    for a separator."""

    token: int
    start: int
    end: int
    word: int


def best_word_path(
    log_probs: NDArray[np.float32],
    words: Sequence[Sequence[Labels]],
    silences: Sequence[int],
    *,
    separated: bool,
    stop: Stop,
    follows: bool = False,
    goes_on: bool = False,
) -> list[Said]:
    """The most probable path of ``log_probs (T, V)`` that says ``words``, each in one of its ways.

    A word without ways is unknown: any tokens but ``silences``, one or more. Silences may stand
    at the ends and between words; with ``separated`` one has to stand between two. What is given
    are the words' tokens, and the separators between words, and with ``follows`` and ``goes_on``,
    which tell of words before and after these, those there. Empty if there is no such path: too few
    frames, or none that is possible.

    Raises:
        StoppedError: asked for by ``stop``.
    """
    if not words:
        return []
    machine = _Machine(log_probs.shape[1], silences, separated=separated)
    machine.add_words(words, follows=follows)
    frames = np.ascontiguousarray(log_probs, dtype=np.float32)
    path = _trace(frames, machine, stop)
    if not len(path):
        return []
    found = _read(frames, path, machine, follows=follows)
    return found if goes_on or found[-1].word != GAP else found[:-1]


@dataclass
class _Machine:
    """States, each with a token (V: the best of all that are no silence) and those before it.

    A state may always follow itself.
    """

    V: int
    silences: Sequence[int]
    separated: bool
    tokens: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    before: list[list[int]] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def add(self, token: int, owner: int, before: Sequence[int]) -> int:
        """A state that follows those ``before`` it, unless they are of the same token."""
        state = len(self.tokens)
        self.tokens.append(token)
        self.owners.append(owner)
        self.before.append([b for b in before if self.tokens[b] != token])
        return state

    def add_words(self, words: Sequence[Sequence[Labels]], *, follows: bool) -> None:
        """States for all ``words``, a gap before each and behind the last."""
        ready = self._add_gap((), inner=follows)
        for number, ways in enumerate(words):
            said = [self._add_way(way, number, ready) for way in ways]
            if not ways:
                said = self._add_unknown(number, ready)
            after = self._add_gap(said, inner=number < len(words) - 1)
            ready = after if self.separated else [*said, *after]
        self.ends = [*said, *after]

    def _add_gap(self, said: Sequence[int], *, inner: bool) -> list[int]:
        """Blanks and silences after the ends of a word; returns where the next may begin."""
        blank = self.add(BLANK_ID, GAP, said)
        after = blank
        if self.separated and inner:  # a separator has to come between the blanks
            after = self.add(BLANK_ID, GAP, ())
        quiet = [self.add(k, GAP, [*said, blank]) for k in self.silences]
        for state in quiet:
            self.before[state] += [other for other in (*quiet, after) if other != state]
            self.before[state] = list(dict.fromkeys(self.before[state]))
            self.before[after].append(state)
        return [after, *quiet]

    def _add_way(self, way: Labels, number: int, ready: Sequence[int]) -> int:
        state = self.add(way[0], number, ready)
        for token in way[1:]:
            blank = self.add(BLANK_ID, number, [state])
            state = self.add(token, number, [state, blank])
        return state

    def _add_unknown(self, number: int, ready: Sequence[int]) -> list[int]:
        state = self.add(self.V, number, ready)
        blank = self.add(BLANK_ID, number, [state])
        self.before[state].append(blank)
        return [state]


def _trace(frames: NDArray[np.float32], machine: _Machine, stop: Stop) -> NDArray[np.int64]:
    """The state of each frame, ``(T,)``; empty if there is no path."""
    T = len(frames)
    begins = np.cumsum([0, *map(len, machine.before)])
    before = np.array([b for states in machine.before for b in states], dtype=np.int64)
    tokens = np.array(machine.tokens)
    score = np.full(len(tokens), -np.inf)
    score[0] = 0.0  # before the first frame: the blank of the first gap
    length = chunk_length(T, 4 * len(tokens))  # as in best_alignment: back-pointers by chunk
    befores = [score]
    none = np.empty((0, 0), dtype=np.int32)
    for t in range(0, T - length, length):
        stop.check()
        chunk = _with_best(frames[t : t + length], machine)
        befores.append(_advance(chunk, tokens, begins, before, befores[-1], none))
    path = np.empty(T, dtype=np.int64)
    state = -1  # of the last frame; not known before its chunk
    for t in reversed(range(0, T, length)):
        stop.check()
        chunk = _with_best(frames[t : t + length], machine)
        came_from = np.empty((len(chunk), len(tokens)), dtype=np.int32)
        score = _advance(chunk, tokens, begins, before, befores.pop(), came_from)
        if state < 0:
            state = max(machine.ends, key=lambda end: score[end])
            if score[state] == -np.inf:
                return path[:0]
        for row in range(len(chunk) - 1, -1, -1):
            path[t + row] = state
            state = int(came_from[row, state])
    return path


def _with_best(frames: NDArray[np.float32], machine: _Machine) -> NDArray[np.float32]:
    """``frames (T, V)`` and, as one more column, the best token of an unknown word."""
    if machine.V not in machine.tokens:
        return frames
    said = frames.copy()
    said[:, [BLANK_ID, *machine.silences]] = -np.inf
    return np.column_stack([frames, said.max(axis=1)])


@compiled
def _advance(
    frames: NDArray[np.float32],
    tokens: NDArray[np.int64],
    begins: NDArray[np.int64],
    before: NDArray[np.int64],
    score: NDArray[np.float64],
    came_from: NDArray[np.int32],
) -> NDArray[np.float64]:
    """Scores of the states after ``frames``; fills in the best state before, unless empty."""
    old, new = score.copy(), np.empty(len(tokens))
    for t in range(len(frames)):
        for s in range(len(tokens)):
            best, source = old[s], s
            for i in range(begins[s], begins[s + 1]):
                if old[before[i]] > best:
                    best, source = old[before[i]], before[i]
            new[s] = best + frames[t, tokens[s]]
            if len(came_from):
                came_from[t, s] = source
        old, new = new, old
    return old


def _read(
    frames: NDArray[np.float32], path: NDArray[np.int64], machine: _Machine, *, follows: bool
) -> list[Said]:
    """The tokens of a path of states, without silences that are no separators."""
    tokens = np.array(machine.tokens)[path]
    owners = np.array(machine.owners)[path]
    wild = tokens == machine.V
    if wild.any():
        said = frames.copy()
        said[:, [BLANK_ID, *machine.silences]] = -np.inf
        tokens[wild] = said[wild].argmax(axis=1)
    edges = np.flatnonzero((np.diff(path, prepend=-1) != 0) | (np.diff(tokens, prepend=-1) != 0))
    found: list[Said] = []
    for start, end in zip(edges.tolist(), [*edges[1:].tolist(), len(path)], strict=True):
        token, owner = int(tokens[start]), int(owners[start])
        after_word = found[-1].word != GAP if found else follows
        gap = owner == GAP and not (machine.separated and after_word)
        if token != BLANK_ID and not gap:
            found.append(Said(token, start, end, owner))
    return found
