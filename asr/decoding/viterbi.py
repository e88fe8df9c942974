"""The best path through the states of a labelling, compiled: for :mod:`asr.decoding.spans`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr.decoding.compiled import compiled

__all__ = ["forward", "trace"]


@compiled
def forward(
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
    size = len(states)
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
def trace(came_by: NDArray[np.uint8], path: NDArray[np.int64], state: int) -> int:
    """Fill in ``path``, the state of each frame, from the last one back; returns the one before."""
    for t in range(len(came_by) - 1, -1, -1):
        path[t] = state
        state -= came_by[t, state]
    return state
