"""Recursions over frames, compiled: for best alignments and prefix search."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled
from asr.tokens import BLANK_ID

__all__ = [
    "advance_scores",
    "extend_prefix",
    "highest_within",
    "label_states",
    "read_spans",
    "trace_path",
]


@compiled
def label_states(
    labels: NDArray[np.int64], gap: int, separator: int, follows: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The states of ``labels (S,)``, each with a blank around it: their tokens ``(2 S + 1,)``; what
    it costs to come to each from two states before; and the scores before the first frame.

    With a ``separator``, 0 or above, the blanks in which one may be said as well are the token
    ``gap``: see :func:`asr.decoding.spans.gap_states`. ``follows``: the first blank is none.
    """
    size = 2 * len(labels) + 1
    states = np.full(size, BLANK_ID)
    skip, score = np.full(size, -np.inf), np.full(size, -np.inf)
    score[0] = 0.0  # only the first blank and the first label are in reach
    for i in range(len(labels)):
        states[2 * i + 1] = labels[i]
        if i and labels[i] != labels[i - 1]:
            skip[2 * i + 1] = 0.0
        if labels[i] == separator:
            states[2 * i + 2] = gap
    if separator >= 0:
        states[-1] = gap
        if not follows:
            states[0] = gap
    return states, skip, score


@compiled
def advance_scores(
    frames: NDArray[np.float32],
    separator: int,
    states: NDArray[np.int64],
    skip: NDArray[np.float64],
    score: NDArray[np.float64],
    came_by: NDArray[np.uint8],
) -> NDArray[np.float64]:
    """Scores of the ``states`` (tokens by state) after ``frames``, ``score`` being those before.

    The token V, behind all others, is the better one of blank and ``separator``.
    Fills in how many states back each frame's best lies, unless ``came_by`` is empty. Of equally
    good ways, the one that comes from nearest.
    """
    size = len(states)  # 2 S + 1: the labels with a blank around each
    # A state is reached from itself, from the one before it, or over a blank between two labels
    # that differ (Graves et al. 2006, eq. 6, with the maximum in place of the sum).
    before, after = score.copy(), np.empty(size)
    gap = frames.shape[1]
    for t in range(len(frames)):
        quiet = frames[t, BLANK_ID]
        if separator >= 0:
            quiet = max(quiet, frames[t, separator])
        for s in range(size):
            best, steps = before[s], 0
            if s >= 1 and before[s - 1] > best:
                best, steps = before[s - 1], 1
            if s >= 2 and before[s - 2] + skip[s] > best:
                best, steps = before[s - 2] + skip[s], 2
            after[s] = best + (quiet if states[s] == gap else frames[t, states[s]])
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
def read_spans(
    frames: NDArray[np.float32],
    separator: int,
    states: NDArray[np.int64],
    path: NDArray[np.int64],
    follows: bool,
) -> NDArray[np.int64]:
    """The tokens of a ``path`` of states, ``(3, S)``: ids, first frames, and frames after the last.

    Separators that are no part of the text are left out: :func:`asr.decoding.spans.squeeze`.
    """
    spans = np.empty((3, len(path)), dtype=np.int64)
    count, before = 0, -1
    for t in range(len(path)):
        token = states[path[t]]
        if token == frames.shape[1]:
            blank = frames[t, BLANK_ID] >= frames[t, separator]
            token = BLANK_ID if blank else separator
        if token == before:
            if token != BLANK_ID and count and spans[2, count - 1] == t:
                spans[2, count - 1] = t + 1
            continue
        before = token
        first = not follows if count == 0 else spans[0, count - 1] == separator
        if token != BLANK_ID and not (token == separator and first):
            spans[0, count], spans[1, count], spans[2, count] = token, t, t + 1
            count += 1
    if count and spans[0, count - 1] == separator:
        count -= 1
    return spans[:, :count]


@compiled
def highest_within(frames: NDArray[np.float32], spans: NDArray[np.int64]) -> NDArray[np.float64]:
    """The highest log-probability of the tokens ``spans (S, 3)`` within each, ``(S,)``."""
    found = np.full(len(spans), -np.inf)
    for s in range(len(spans)):
        for t in range(spans[s, 1], spans[s, 2]):
            found[s] = max(found[s], frames[t, spans[s, 0]])
    return found


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
