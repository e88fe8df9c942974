"""What words add to the score of a prefix, and what they may yet add: look-ahead.

Until it is decided which word was said, a prefix is ranked by the best of them, or of those that it
may become (look-ahead by 1-grams; Ortmanns et al. 1996).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.compiled import inlined
from asr.decoding.beam.scoring import WordBoosts, follow_phrases
from asr.decoding.beam.tables import NONE, STEP, Records
from asr.decoding.beam.tree import ROOT
from asr.decoding.beam.word_places import mix
from asr.decoding.beam.words import SURPRISE
from asr.lm.trie import Trie, step

__all__ = [
    "best_of",
    "end_phrases",
    "end_word",
    "phrases_ahead",
    "remembered_step",
    "start_cache",
]

REMEMBERED = 1 << 15  # answers of the language model, a power of 2

# The functions take arrays, and not the tuples that hold them: numba counts the references to all
# arrays of a tuple in each call, which took half of the time.


def start_cache() -> Records:
    """Room for what the language model says, for any number of searches in turn."""
    cache = np.zeros(REMEMBERED, dtype=STEP)
    cache["state"] = NONE
    return cache


@inlined
def remembered_step(cache: Records, trie: Trie, state: int, word: int) -> tuple[float, int]:
    """:func:`asr.lm.trie.step`, remembered: a word is asked for in frame after frame."""
    held = cache[mix(state, word, 0) & (len(cache) - 1)]
    if held.state != state or held.word != word:
        held.state, held.word = state, word
        held.log10, held.after = step(trie, state, word)
    return held.log10, held.after


@inlined
def best_of(
    cache: Records, trie: Trie, state: int, words: NDArray[np.int32], below: float
) -> float:
    """log10 of the best of ``words``, exactly, and of those ``below``, by 1-grams.

    Words that would have to be surprisingly probable here to be the best are not asked for.
    """
    best = below
    for word in words:
        if trie.log_probs[1 + word] + SURPRISE > best:
            log10, _ = remembered_step(cache, trie, state, word)
            best = max(best, log10)
    return best


@inlined
def phrases_ahead(boosts: WordBoosts, phrase_node: int, node: int, words: int) -> float:
    """What the phrases begun have earned if they come to their ends, the word begun with them.

    ``words`` is the number of the lexicon's nodes.
    """
    if node == ROOT or node >= words:
        waiting: float = boosts.phrases.lookahead[phrase_node]
        return waiting
    best = 0.0
    while True:
        low, end = boosts.begins[phrase_node], boosts.begins[phrase_node + 1]
        high = end
        while low < high:  # numpy's function for it takes longer to compile than all the rest here
            middle = (low + high) >> 1
            if boosts.nodes[middle] < node:
                low = middle + 1
            else:
                high = middle
        if low < end and boosts.nodes[low] == node:
            best = max(best, boosts.earned[low])
        if phrase_node == ROOT:
            return best
        phrase_node = boosts.phrases.links[phrase_node]


@inlined
def end_word(ended: Any, prefix: Any, word: int) -> None:
    """Fill in ``ended``: the history of ``prefix`` and ``word``, not scored."""
    ended.lm_score, ended.bonus, ended.lm_state = prefix.lm_score, prefix.bonus, prefix.lm_state
    ended.row, ended.parent, ended.word = NONE, prefix.row, word
    ended.phrase_node = prefix.phrase_node


@inlined
def end_phrases(ended: Any, word: int, boosts: WordBoosts) -> None:
    """Add what the phrases earn that end with the word of ``ended``."""
    ended.phrase_node = follow_phrases(boosts.phrases, ended.phrase_node, word)
    ended.bonus += boosts.phrases.gains[ended.phrase_node]
