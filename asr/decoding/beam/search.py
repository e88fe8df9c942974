"""Prefix beam search, compiled: the inner loop of :mod:`asr.decoding.beam.decoder`.

Hannun et al., "First-pass large vocabulary continuous speech recognition using bi-directional
recurrent DNNs" (2014), algorithm 1. A prefix carries the log-probabilities of its paths that end in
a blank and in its last token; paths that meet in a prefix are added up.

Compiling takes some seconds, once (:mod:`asr.compiled`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, inlined
from asr.decoding.beam.pruning import choose
from asr.decoding.beam.scoring import (
    AHEAD,
    BLANK,
    BONUS,
    LAST,
    LM,
    LM_STATE,
    NO_LM,
    NODE,
    NUMBER,
    PHRASE,
    TOKEN,
    WHOLE,
    Boosts,
    Grammar,
    Options,
    Prefixes,
    end_word,
    extend,
    follow,
)
from asr.lm.trie import step
from asr.tokens import BLANK_ID

__all__ = ["search"]

NEVER = -math.inf
# Columns of what is kept of every prefix that ever was in the beam.
PARENT, ADDED, CHILD, SIBLING, SLOT = range(5)


@compiled
def search(
    log_probs: NDArray[np.float64],
    options: Options,
    grammar: Grammar,
    boosts: Boosts,
    flag: NDArray[np.uint8],
) -> tuple[int, NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Search ``log_probs (T, V)``.

    Returns:
        The number of frames taken, less than T if ``flag`` was set or nothing is possible in the
        next; every prefix's parent and last token, ``(n, 5)`` with these in columns 0 and 1; and,
        of complete labellings in no order, their rows there, ``(k,)``, and ``(k, 3)`` the acoustic
        score, the language model's and the bonus.
    """
    T, V = log_probs.shape
    size, made = 1, 1
    beam, later = _start(grammar, boosts), _room(256)
    kept = np.full((256, 5), -1, dtype=np.int32)
    kept[0, SLOT] = 0
    likely = np.empty(V, dtype=np.int32)
    children = np.full((64, V), -1, dtype=np.int32)  # slots by their parent's slot and last token
    for t in range(T):
        if flag[0]:
            return t, kept, np.empty(0, dtype=np.int32), np.empty((0, 3))
        count = _likely(log_probs[t], options.token_min_log_prob, likely)
        if count == 0 and log_probs[t, BLANK_ID] > NEVER:
            _add_blank(beam, size, log_probs[t, BLANK_ID])
            continue
        if len(children) < size:
            children = np.full((2 * size, V), -1, dtype=np.int32)
        if len(later.ranks) < size * (1 + count):
            later = _room(256 + size * (1 + count))
        _link_children(beam, size, kept, children, True)
        found = _extend_all(
            log_probs[t], likely[:count], beam, size, children, later, options, grammar, boosts
        )
        _link_children(beam, size, kept, children, False)
        chosen = choose(later, found, options, grammar)
        if not len(chosen):
            return t, kept, np.empty(0, dtype=np.int32), np.empty((0, 3))
        for slot in range(size):
            kept[beam.places[slot, NUMBER], SLOT] = -1
        size = len(chosen)
        if len(beam.ranks) < size:
            beam = _room(2 * size)
        kept = _with_room(kept, made, size)
        made = _take(later, chosen, beam, kept, made)
    rows, scores = _finish(beam, size, options, grammar, boosts)
    return T, kept, rows, scores


@compiled
def _start(grammar: Grammar, boosts: Boosts) -> Prefixes:
    """The empty prefix, in the first row."""
    beam = _room(64)
    beam.numbers[0] = 0.0
    beam.numbers[0, TOKEN] = NEVER
    beam.numbers[0, AHEAD] = boosts.ahead[boosts.start]
    beam.places[0] = 0
    beam.places[0, LM_STATE] = grammar.start
    beam.places[0, PHRASE] = boosts.start
    return beam


@compiled
def _room(rows: int) -> Prefixes:
    """Tables not yet filled in."""
    return Prefixes(
        np.empty((rows, 6)),
        np.empty((rows, 5), dtype=np.int32),
        np.empty(rows, dtype=np.int32),
        np.empty(rows),
    )


@inlined
def _with_room(kept: NDArray[np.int32], made: int, more: int) -> NDArray[np.int32]:
    """``kept``, or a longer copy if that many more rows do not fit."""
    if made + more <= len(kept):
        return kept
    longer = np.full((2 * (made + more), 5), -1, dtype=np.int32)
    longer[:made] = kept[:made]
    return longer


@inlined
def _take(
    later: Prefixes,
    chosen: NDArray[np.int32],
    beam: Prefixes,
    kept: NDArray[np.int32],
    made: int,
) -> int:
    """Put the chosen rows into the beam, and number new prefixes; returns how many have numbers."""
    for slot in range(len(chosen)):
        row = chosen[slot]
        _copy(later.numbers, later.places, row, beam.numbers, beam.places, slot)
        if later.parents[row] >= 0:
            number = _number(kept, made, later.parents[row], beam.places[slot, LAST])
            beam.places[slot, NUMBER] = number
            made = max(made, number + 1)
        kept[beam.places[slot, NUMBER], SLOT] = slot
    return made


@inlined
def _likely(frame: NDArray[np.float64], least: float, likely: NDArray[np.int32]) -> int:
    """Fill in the tokens worth a try, without the blank; returns how many."""
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
def _add(a: float, b: float) -> float:
    """Logarithm of the sum of two numbers given as logarithms."""
    if a < b:
        a, b = b, a
    if b < a - 40.0 or b == NEVER:  # beyond what the sum can show
        return a
    return a + math.log1p(math.exp(b - a))


@inlined
def _add_blank(beam: Prefixes, size: int, blank: float) -> None:
    """A frame in which nothing but the blank is worth a try leaves the beam's sequence alone."""
    for slot in range(size):
        beam.numbers[slot, WHOLE] += blank
        beam.numbers[slot, BLANK] = beam.numbers[slot, WHOLE]
        beam.numbers[slot, TOKEN] = NEVER


@inlined
def _link_children(
    beam: Prefixes,
    size: int,
    kept: NDArray[np.int32],
    children: NDArray[np.int32],
    linked: bool,
) -> None:
    """Fill in, or clear, where in the beam each prefix is found from its parent."""
    for slot in range(size):
        parent = kept[beam.places[slot, NUMBER], PARENT]
        if parent >= 0 and kept[parent, SLOT] >= 0:
            children[kept[parent, SLOT], beam.places[slot, LAST]] = slot if linked else -1


@inlined
def _stay(beam: Prefixes, size: int, later: Prefixes, blank: float) -> tuple[float, float]:
    """The beam's prefixes after a blank; returns the highest and the lowest of their ranks."""
    numbers, places, parents, _ = later
    best, least = NEVER, math.inf
    for slot in range(size):
        _copy(beam.numbers, beam.places, slot, numbers, places, slot)
        parents[slot] = -1
        numbers[slot, BLANK] = numbers[slot, WHOLE] + blank
        numbers[slot, TOKEN] = NEVER
        rank = numbers[slot, BLANK] + numbers[slot, LM] + numbers[slot, BONUS]
        rank += numbers[slot, AHEAD]
        best, least = max(best, rank), min(least, rank)
    return best, least


@inlined
def _extend_all(
    frame: NDArray[np.float64],
    likely: NDArray[np.int32],
    beam: Prefixes,
    size: int,
    children: NDArray[np.int32],
    later: Prefixes,
    options: Options,
    grammar: Grammar,
    boosts: Boosts,
) -> int:
    """Fill in all prefixes one frame later: those of the beam, then new ones; returns how many.

    New ones are left out where the old ones alone, or the best one so far, are enough to drop them.
    """
    numbers, places, parents, ranks = later
    before = beam.numbers
    best, least = _stay(beam, size, later, frame[BLANK_ID])
    if size < options.beam_width:
        least = NEVER
    most = boosts.most + max(0.0, options.token_bonus) + max(0.0, options.word_bonus)
    count = size
    for slot in range(size):
        whole = before[slot, WHOLE]
        hope = before[slot, LM] + before[slot, BONUS] + most
        for k in likely:
            said = whole + frame[k]
            if k == places[slot, LAST]:
                repeated = before[slot, TOKEN] + frame[k]
                numbers[slot, TOKEN] = _add(numbers[slot, TOKEN], repeated)
                said = before[slot, BLANK] + frame[k]
            child = children[slot, k]
            if child >= 0:
                numbers[child, TOKEN] = _add(numbers[child, TOKEN], said)
                continue
            bar = max(least, best - options.beam_threshold)
            if said + hope < bar or said == NEVER:
                continue
            lm, bonus, ahead = before[slot, LM], before[slot, BONUS] + options.token_bonus, 0.0
            state, node, phrase = places[slot, LM_STATE], places[slot, NODE], places[slot, PHRASE]
            fresh = places[slot, LAST] == options.separator or places[slot, LAST] == BLANK_ID
            if fresh and k != options.separator:
                bonus += options.word_bonus
            allowed = True
            if grammar.lm_units != NO_LM or grammar.has_lexicon or boosts.some:
                allowed, lm, bonus, ahead, state, node, phrase = extend(
                    k, fresh, lm, bonus, state, node, phrase, options, grammar, boosts
                )
            rank = said + lm + bonus + ahead
            if allowed and rank >= bar:
                best = max(best, rank)
                numbers[count, BLANK], numbers[count, TOKEN] = NEVER, said
                numbers[count, WHOLE], numbers[count, LM] = said, lm
                numbers[count, BONUS], numbers[count, AHEAD] = bonus, ahead
                places[count, LAST], places[count, LM_STATE] = k, state
                places[count, NODE], places[count, PHRASE] = node, phrase
                parents[count], ranks[count] = places[slot, NUMBER], rank
                count += 1
    for slot in range(size):
        numbers[slot, WHOLE] = _add(numbers[slot, BLANK], numbers[slot, TOKEN])
        ranks[slot] = numbers[slot, WHOLE] + numbers[slot, LM] + numbers[slot, BONUS]
        ranks[slot] += numbers[slot, AHEAD]
    return count


@inlined
def _copy(
    numbers: NDArray[np.float64],
    places: NDArray[np.int32],
    row: int,
    to_numbers: NDArray[np.float64],
    to_places: NDArray[np.int32],
    to: int,
) -> None:
    for column in range(6):
        to_numbers[to, column] = numbers[row, column]
    for column in range(5):
        to_places[to, column] = places[row, column]


@inlined
def _number(kept: NDArray[np.int32], made: int, parent: int, token: int) -> int:
    """The row in ``kept`` of ``parent`` with ``token``; a new one if there is none."""
    number = kept[parent, CHILD]
    while number >= 0 and kept[number, ADDED] != token:
        number = kept[number, SIBLING]
    if number >= 0:
        return int(number)
    kept[made, PARENT], kept[made, ADDED] = parent, token
    kept[made, CHILD], kept[made, SIBLING] = -1, kept[parent, CHILD]
    kept[parent, CHILD] = made
    return made


@compiled
def _finish(
    beam: Prefixes,
    size: int,
    options: Options,
    grammar: Grammar,
    boosts: Boosts,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Rows and scores of the prefixes that may end here, their last words and the end scored."""
    numbers, places = beam.numbers, beam.places
    rows = np.empty(size, dtype=np.int32)
    scores = np.empty((size, 3))
    count = 0
    for slot in range(size):
        lm, bonus, state = numbers[slot, LM], numbers[slot, BONUS], places[slot, LM_STATE]
        last = places[slot, LAST]
        if last != BLANK_ID and last != options.separator and options.separator >= 0:
            allowed, log10, more, state = end_word(places[slot, NODE], state, options, grammar)
            if not allowed:
                continue
            lm += options.lm_weight * log10
            bonus += more
            if boosts.some:
                bonus += boosts.gains[follow(boosts, places[slot, PHRASE], options.separator)]
        if grammar.lm_units != NO_LM:
            log10, state = step(grammar.trie, state, grammar.end)
            lm += options.lm_weight * log10
        rows[count] = places[slot, NUMBER]
        scores[count, 0] = numbers[slot, WHOLE]
        scores[count, 1], scores[count, 2] = lm, bonus
        count += 1
    return rows[:count], scores[:count]
