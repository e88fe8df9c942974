"""What a frame does in every search of this folder, compiled: by tokens and by words."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from asr.compiled import inlined
from asr.decoding.beam.tables import Records
from asr.tokens import BLANK_ID

__all__ = ["NEVER", "add_blank", "add_logs", "find_likely", "grow", "stay"]

NEVER = -math.inf


@inlined
def find_likely(frame: NDArray[np.float64], least: float, likely: NDArray[np.int32]) -> int:
    """Fill in the tokens of ``frame (V,)`` worth a try, without the blank; returns how many."""
    best = 0
    for k in range(len(frame)):
        if frame[k] > frame[best]:
            best = k
    count = 0
    for k in range(len(frame)):
        if k != BLANK_ID and frame[k] > NEVER and (frame[k] >= least or k == best):
            likely[count] = k
            count += 1
    return count


@inlined
def add_logs(a: float, b: float) -> float:
    """Logarithm of the sum of two numbers given as logarithms."""
    if a < b:
        a, b = b, a
    if b < a - 40.0 or b == NEVER:  # beyond what the sum can show
        return a
    return a + math.log1p(math.exp(b - a))


@inlined
def add_blank(beam: Records, size: int, blank: float) -> None:
    """A frame in which nothing but the blank is worth a try: all prefixes lose the same, so the
    beam stays as it is.
    """
    for slot in range(size):
        prefix = beam[slot]
        prefix.log_total += blank
        prefix.log_blank = prefix.log_total
        prefix.log_token = NEVER


@inlined
def stay(beam: Records, size: int, next_beam: Records, blank: float) -> tuple[float, float]:
    """The beam's prefixes after a blank, each in the row of its slot; returns the highest and the
    lowest of their ranks. Tokens can only raise these, as more paths are added.
    """
    best, least = NEVER, math.inf
    for slot in range(size):
        next_beam[slot] = beam[slot]
        prefix = next_beam[slot]
        prefix.log_blank = prefix.log_total + blank
        prefix.log_token = NEVER
        rank = prefix.log_blank + prefix.lm_score + prefix.bonus + prefix.lookahead
        best, least = max(best, rank), min(least, rank)
    return best, least


@inlined
def grow(records: Records, used: int, more: int) -> Records:
    """``records``, or a longer copy of those ``used`` if that many more do not fit."""
    if used + more <= len(records):
        return records
    longer = np.empty(2 * (used + more), dtype=records.dtype)
    # Not as a slice: numba would compile what names both shapes where they differ, for 2 s.
    for row in range(used):
        longer[row] = records[row]
    return longer
