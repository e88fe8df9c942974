"""Recursions over frames, compiled: for best alignments and prefix search."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled
from asr.tokens import BLANK_ID

__all__ = ["advance_scores", "extend_prefix", "trace_path"]


@compiled
def advance_scores(
    frames: NDArray[np.float32],
    states: NDArray[np.int64],
    skip: NDArray[np.float64],
    score: NDArray[np.float64],
    came_by: NDArray[np.uint8],
) -> NDArray[np.float64]:
    """Scores of the ``states`` (tokens by state) after ``frames``, ``score`` being those before.

    Fills in how many states back each frame's best lies, unless ``came_by`` is empty. Of equally
    good ways, the one that comes from nearest.
    """
    size = len(states)  # 2 S + 1: the labels with a blank around each
    # A state is reached from itself, from the one before it, or over a blank between two labels
    # that differ (Graves et al. 2006, eq. 6, with the maximum in place of the sum).
    before, after = score.copy(), np.empty(size)
    for t in range(len(frames)):
        for s in range(size):
            best, steps = before[s], 0
            if s >= 1 and before[s - 1] > best:
                best, steps = before[s - 1], 1
            if s >= 2 and before[s - 2] + skip[s] > best:
                best, steps = before[s - 2] + skip[s], 2
            after[s] = best + frames[t, states[s]]
            if len(came_by):
                came_by[t, s] = steps
        before, after = after, before
    return before


@compiled
def trace_path(came_by: NDArray[np.uint8], path: NDArray[np.int64], state: int) -> int:
    """Fill in ``path``, the state of each frame, from the last one back; returns the one before."""
    for t in range(len(came_by) - 1, -1, -1):
        path[t] = state
        state -= came_by[t, state]
    return state


@compiled
def extend_prefix(
    fresh: NDArray[np.float64],
    log_y: NDArray[np.float64],
    token: int,
    absorbs: bool,
    in_blank: NDArray[np.float64],
    in_token: NDArray[np.float64],
) -> None:
    """Fill in the forward variables ``(T + 1,)`` of a prefix that ``token`` extends.

    ``fresh (T,)`` are the log-probabilities of the paths before each frame that it may follow;
    ``log_y`` is ``(T, V)``. ``absorbs``: the token after a blank is no second one (a separator).
    """
    # Before the first frame no path has said the token. Then, frame by frame, those that end in the
    # token go on with it or into a blank, and new ones come from the prefix before.
    blank = said = -math.inf
    in_blank[0], in_token[0] = blank, said
    for t in range(len(fresh)):
        blank, said = (
            _add_logs(blank, said) + log_y[t, BLANK_ID],  # both sides: of the frame before
            _add_logs(_add_logs(blank, said) if absorbs else said, fresh[t]) + log_y[t, token],
        )
        in_blank[t + 1], in_token[t + 1] = blank, said


@compiled
def _add_logs(a: float, b: float) -> float:
    """Logarithm of the sum of two numbers given as logarithms."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))
