"""The continual embedded Reber grammar, with an oracle that names every legal successor.

After Smith & Zipser 1989 and Hochreiter & Schmidhuber 1997, Experiment 1; strung together without
an end in Gers, Schmidhuber & Cummins 2000, section 4. A string is ``B x REBER x E`` with x either T
or P: whoever predicts the last symbol but one has to remember the second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEGAL", "NEXT", "START", "SYMBOLS", "Streams", "fresh_strings", "one_hot", "string_of"]

SYMBOLS = "BTPSXVE"

# The Reber grammar: node -> (symbol, next node), each taken half of the time. 7 is its end.
REBER = {
    0: (("B", 1),),
    1: (("T", 2), ("P", 3)),
    2: (("S", 2), ("X", 4)),
    3: (("T", 3), ("V", 5)),
    4: (("X", 3), ("S", 6)),
    5: (("P", 4), ("V", 6)),
    6: (("E", 7),),
}
START = 0  # before a string: B must come


def _automaton() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """``(emitted, next)``, each ``(states, 2)`` by the toss of a coin, and ``legal (states, 7)``.

    State 1 follows the outer B. The inner grammar is there twice, once for each symbol to remember:
    its nodes 0 to 7 and an eighth, where the outer E must come.
    """
    arcs = {START: (("B", 1),), 1: (("T", 2), ("P", 2 + 9))}
    for first, outer in ((2, "T"), (2 + 9, "P")):
        for node, branches in REBER.items():
            arcs[first + node] = tuple((symbol, first + to) for symbol, to in branches)
        arcs[first + 7] = ((outer, first + 8),)
        arcs[first + 8] = (("E", START),)
    emitted, following = np.zeros((2, len(arcs), 2), np.int64)
    legal = np.zeros((len(arcs), len(SYMBOLS)), np.float32)
    for state, branches in arcs.items():
        for toss in (0, 1):
            symbol, to = branches[toss % len(branches)]
            emitted[state, toss], following[state, toss] = SYMBOLS.index(symbol), to
            legal[state, SYMBOLS.index(symbol)] = 1.0
    return emitted, following, legal


EMITTED, NEXT, LEGAL = _automaton()


class Streams:
    """B endless streams of strings, each at its own place.

    Args:
        streams: B.
        seed: of the tosses.
    """

    def __init__(self, streams: int, seed: int) -> None:
        self.states = np.full(streams, START)
        self._rng = np.random.default_rng(seed)

    def take(self, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The next symbols ``(T, B)`` and the automaton's state ``(T, B)`` after each.

        ``LEGAL[states]`` is 1 for what may follow.
        """
        tosses = self._rng.integers(0, 2, (length, len(self.states)))
        symbols = np.empty_like(tosses)
        states = np.empty_like(tosses)
        state = self.states
        for t in range(length):
            symbols[t] = EMITTED[state, tosses[t]]
            states[t] = state = NEXT[state, tosses[t]]
        self.states = state
        return symbols, states

    def restart(self, which: NDArray[np.bool_]) -> None:
        """Let the streams ``which (B,)`` begin anew with a string."""
        self.states = np.where(which, START, self.states)


def fresh_strings(
    count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """``count`` whole strings: symbols and states ``(T, count)``, and lengths ``(count,)``.

    What stands beyond a length means nothing.
    """
    state = np.full(count, START)
    symbols, states = [], []
    lengths = np.zeros(count, np.int64)
    while not lengths.all():
        toss = rng.integers(0, 2, count)
        symbols.append(EMITTED[state, toss])
        state = NEXT[state, toss]
        states.append(state)
        lengths[(state == START) & (lengths == 0)] = len(states)
    return np.array(symbols), np.array(states), lengths


def one_hot(symbols: NDArray[np.int64]) -> NDArray[np.float32]:
    """``(..., 7)``, one component of 1."""
    return np.eye(len(SYMBOLS), dtype=np.float32)[symbols]


def string_of(symbols: NDArray[np.int64]) -> str:
    """The symbols ``(T,)`` as letters."""
    return "".join(SYMBOLS[symbol] for symbol in symbols)
