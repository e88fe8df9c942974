"""Which prefixes stay in the beam, compiled: for :mod:`asr.decoding.beam.search`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, inlined
from asr.decoding.beam.frames import NEVER
from asr.decoding.beam.scoring import NOT_A_WORD, Options
from asr.decoding.beam.tables import Records
from asr.decoding.beam.tree import ROOT

__all__ = ["any_complete", "choose_rows"]


@inlined
def choose_rows(
    prefixes: Records, options: Options, words: NDArray[np.int32], closed: bool
) -> NDArray[np.int32]:
    """The rows ``(K,)`` of the best of ``prefixes (n,)``, in their sequence.

    Where words must be the lexicon's (``closed``), there is always one among them that is complete,
    so that the utterance can end at any time; ``words`` has NOT_A_WORD for nodes within words.
    """
    # Two steps: what is too far behind the best goes, then what is beyond the beam's width.
    ranks = np.empty(len(prefixes))  # side by side: they are compared often
    best = NEVER
    for row in range(len(prefixes)):
        ranks[row] = prefixes[row].rank
        best = max(best, ranks[row])
    least = best - options.beam_threshold
    chosen = np.empty(len(prefixes), dtype=np.int32)
    count = 0
    for row in range(len(prefixes)):
        if ranks[row] > NEVER and ranks[row] >= least:
            chosen[count] = row
            count += 1
    chosen = chosen[:count]
    if count > options.beam_width:
        chosen = _choose_best(ranks, chosen, options.beam_width)
    if closed and len(chosen):
        chosen = _keep_complete(prefixes, words, chosen, options.beam_width)
    return chosen


@inlined
def _choose_best(
    ranks: NDArray[np.float64], rows: NDArray[np.int32], width: int
) -> NDArray[np.int32]:
    """The ``width`` of ``rows`` that rank highest, in their sequence; of equals the first.

    The rank of the last one that fits is found without sorting; what is above it goes in, and as
    many of what is equal as there is room for.
    """
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
    """Hoare's selection (1961): the part that holds place k is divided about a pivot until the
    pivot stands there. Rearranges ``values``.
    """
    low, high = 0, len(values) - 1
    while low < high:
        pivot: float = values[(low + high) >> 1]
        left, right = low, high
        while left <= right:  # higher ones to the left, lower ones to the right
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
    prefixes: Records, words: NDArray[np.int32], chosen: NDArray[np.int32], width: int
) -> NDArray[np.int32]:
    """Choose the best complete prefix as well if none is complete; in a full beam of ``width`` it
    takes the place of the worst one.

    ``words (M,)`` are those of the lexicon's nodes.
    """
    worst = 0
    for i in range(len(chosen)):
        if _is_complete(prefixes[chosen[i]], words):
            return chosen
        if prefixes[chosen[i]].rank < prefixes[chosen[worst]].rank:
            worst = i
    best = -1
    for row in range(len(prefixes)):
        prefix = prefixes[row]
        better = prefix.rank > NEVER and (best < 0 or prefix.rank > prefixes[best].rank)
        if better and _is_complete(prefix, words):
            best = row
    if best < 0:
        return chosen
    if len(chosen) == width:
        chosen[worst] = best
        return chosen
    # Where the model is sure, few are chosen, or one, and it is the best: none of them may go.
    more = np.empty(len(chosen) + 1, dtype=np.int32)
    for i in range(len(chosen)):  # no slice, as in asr.decoding.beam.frames.grow
        more[i] = chosen[i]
    more[-1] = best
    return more


@compiled
def any_complete(prefixes: Records, words: NDArray[np.int32]) -> bool:
    """Whether a text may end in one of ``prefixes (n,)``; ``words (M,)`` are those of nodes."""
    found = False
    for row in range(len(prefixes)):
        found = found or _is_complete(prefixes[row], words)
    return found


@inlined
def _is_complete(prefix: Any, words: NDArray[np.int32]) -> bool:
    node = prefix.lexicon_node
    return bool(node == ROOT or words[node] != NOT_A_WORD)
