"""Which prefixes stay in the beam, compiled: for :mod:`asr.decoding.beam.search`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, inlined
from asr.decoding.beam.scoring import NODE, NOT_A_WORD, Grammar, Options, Prefixes
from asr.decoding.beam.tree import ROOT

__all__ = ["choose"]

NEVER = -math.inf


@inlined
def choose(later: Prefixes, size: int, options: Options, grammar: Grammar) -> NDArray[np.int32]:
    """The rows of the best prefixes. Where words must be the lexicon's, there is always one among
    them that is complete, so that the utterance can end at any time.
    """
    ranks = later.ranks[:size]
    least = ranks.max() - options.beam_threshold
    chosen = np.empty(size, dtype=np.int32)
    count = 0
    for row in range(size):
        if ranks[row] > NEVER and ranks[row] >= least:
            chosen[count] = row
            count += 1
    chosen = chosen[:count]
    if count > options.beam_width:
        chosen = _best(ranks, chosen, options.beam_width)
    if grammar.has_lexicon and options.unknown_penalty == math.inf and len(chosen):
        _keep_complete(ranks, later.places[:size, NODE], grammar.words, chosen)
    return chosen


@inlined
def _best(ranks: NDArray[np.float64], rows: NDArray[np.int32], width: int) -> NDArray[np.int32]:
    """The ``width`` of ``rows`` that rank highest, in their sequence; of equals the first."""
    least = _kth_highest(ranks[rows], width)
    ties = width
    for row in rows:
        if ranks[row] > least:
            ties -= 1
    chosen = np.empty(width, dtype=np.int32)
    count = 0
    for row in rows:
        if ranks[row] > least or (ranks[row] == least and ties > 0):
            ties -= ranks[row] == least
            chosen[count] = row
            count += 1
    return chosen


@compiled
def _kth_highest(values: NDArray[np.float64], k: int) -> float:
    """Hoare's selection (1961); rearranges ``values``."""
    low, high = 0, len(values) - 1
    while low < high:
        pivot: float = values[(low + high) >> 1]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if k - 1 <= right:
            high = right
        elif k - 1 >= left:
            low = left
        else:
            break
    highest: float = values[k - 1]
    return highest


@compiled
def _keep_complete(
    ranks: NDArray[np.float64],
    nodes: NDArray[np.int32],
    words: NDArray[np.int32],
    chosen: NDArray[np.int32],
) -> None:
    """Put the best complete prefix in the place of the worst chosen one if none is complete."""
    best, worst = -1, 0
    for i in range(len(chosen)):
        node = nodes[chosen[i]]
        if node == ROOT or words[node] != NOT_A_WORD:
            return
        if ranks[chosen[i]] < ranks[chosen[worst]]:
            worst = i
    for row in range(len(ranks)):
        node = nodes[row]
        complete = node == ROOT or words[node] != NOT_A_WORD
        if complete and ranks[row] > NEVER and (best < 0 or ranks[row] > ranks[best]):
            best = row
    if best >= 0:
        chosen[worst] = best
