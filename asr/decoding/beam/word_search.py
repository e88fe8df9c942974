"""Prefix beam search over words, compiled: the inner loop of :mod:`asr.decoding.beam.word_decoder`.

The recursion is that of :mod:`asr.decoding.beam.search`; a prefix is another thing. It is a history
of whole words and a node of the lexicon's tree, where the word begun is. So words that are said
alike are kept apart, by the language model too, and the ways to say one word are added up: paths
meet where history and node are equal, whichever tokens the history was said with.

What a word is, is decided when the next one, or a silence, begins. Until then all words that end in
the node are one prefix, ranked by the best of them, or of those that it may become (look-ahead by
1-grams; Ortmanns et al. 1996). With p = (h, n) a prefix, k a token, y the frame's probabilities::

    blank:                log_blank'(h, n)    =  log_total(h, n) + y(blank)
    the last token k:     log_token'(h, n)    =  log_token(h, n) + y(k)
    a child c by k:       log_token'(h, c)    =  log_said + y(k)
    a word w ends in n:   log_token'(h w, c)  =  log_said + y(k), c being the root's child by k
    a silence j:          log_token'(h w, j)  =  log_said + y(j), which may last and be repeated

where log_said is log_blank(h, n) if k repeats the last token, else log_total(h, n). An unknown
word is any sequence of tokens, each as probable as the other, with a node for each last token.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, inlined
from asr.decoding.beam.pruning import any_complete, choose_rows
from asr.decoding.beam.scoring import Options, WordBoosts, follow_phrases
from asr.decoding.beam.search import add_blank, add_logs, find_likely, grow
from asr.decoding.beam.sharing import (
    CHECK,
    MAX_OPEN,
    keep_branch,
    note_shared,
    renumbered,
    what_is_shared,
)
from asr.decoding.beam.tables import HISTORY, NONE, STEP, WORD_PREFIX, Records
from asr.decoding.beam.tree import ROOT
from asr.decoding.beam.words import SURPRISE, WordGrammar
from asr.lm.trie import Trie, step
from asr.tokens import BLANK_ID

__all__ = [
    "compact_histories",
    "end_words",
    "search_words",
    "start_cache",
    "start_histories",
    "start_places",
    "start_word_beam",
]

NEVER = -math.inf
ROW = 0  # of the empty history
SILENCE, KNOWN, UNKNOWN, GOES_ON = range(4)
NEGLIGIBLE = 16.0  # what is so much below what may enter the beam changes no sum in it: 1e-7
REMEMBERED = 1 << 15  # answers of the language model, a power of 2
Table = NDArray[
    np.int32
]  # (H, 2), H a power of 2: the frame in which a place was taken, and by whom


@compiled
def search_words(
    log_probs: NDArray[np.float64],
    ends: bool,
    beam: Records,
    size: int,
    histories: Records,
    rows: int,
    places: NDArray[np.int32],
    marks: NDArray[np.int32],
    frame: int,
    cache: Records,
    options: Options,
    grammar: WordGrammar,
    boosts: WordBoosts,
    flag: NDArray[np.uint8],
) -> tuple[
    int,
    Records,
    int,
    Records,
    int,
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.float64],
]:
    """Go on with a search: take the next frames, ``log_probs (T, V)``.

    Args:
        ends: whether they are the last: then word sequences are looked for.
        beam, size: the prefixes, ``(K,)`` or longer, and K.
        histories, rows: all histories, and how many there are.
        places: where a history is found by its parent and word.
        marks: what was shared of late, which is changed.
        frame: how many frames were taken before.
        cache: what the language model said before, which is changed.

    Returns:
        The number of frames taken, less than T if ``flag`` was set or nothing is possible in the
        next; beam, size, histories, rows and places after them; and of word sequences in no order
        ``(k, 2)``, the row of all but the last word and the last word, both NONE where there is
        none, and ``(k, 3)``, the acoustic score, the language model's and the bonus.
    """
    T, V = log_probs.shape
    no_words, no_scores = np.empty((0, 2), dtype=np.int32), np.empty((0, 3))
    next_beam = np.empty(256, dtype=WORD_PREFIX)
    table = np.zeros((1024, 2), dtype=np.int32)
    likely, is_likely = np.empty(V, dtype=np.int32), np.zeros(V, dtype=np.bool_)
    for t in range(T):
        if flag[0]:
            return t, beam, size, histories, rows, places, no_words, no_scores
        if (frame + t) % CHECK == 0:
            size = _look_back(beam, size, histories, marks, frame + t, grammar.complete)
        count = find_likely(log_probs[t], options.token_min_log_prob, likely)
        if count == 0 and log_probs[t, BLANK_ID] > NEVER:
            add_blank(beam, size, log_probs[t, BLANK_ID])
            continue
        for k in likely[:count]:
            is_likely[k] = True
        found, next_beam, table = _extend_all(
            t + 1,
            log_probs[t],
            likely[:count],
            is_likely,
            beam,
            size,
            next_beam,
            table,
            cache,
            options,
            grammar,
            boosts,
        )
        for k in likely[:count]:
            is_likely[k] = False
        chosen = choose_rows(next_beam[:found], options, grammar.complete, True)
        if not len(chosen):
            return t, beam, size, histories, rows, places, no_words, no_scores
        size = len(chosen)
        if len(beam) < size:
            beam = np.empty(2 * size, dtype=WORD_PREFIX)
        histories = grow(histories, rows, size)
        if len(places) < 2 * (rows + size):
            places = _more_places(histories, rows, size)
        rows = _keep_chosen(next_beam, chosen, beam, histories, places, rows, frame + t)
    if not ends:
        return T, beam, size, histories, rows, places, no_words, no_scores
    words, scores = end_words(beam, size, options, grammar, boosts)
    return T, beam, size, histories, rows, places, words, scores


def start_word_beam(grammar: WordGrammar) -> Records:
    """The empty history at the root, in the first slot."""
    beam = np.zeros(64, dtype=WORD_PREFIX)
    empty = beam[:1]
    empty["log_token"] = NEVER
    empty["row"], empty["parent"], empty["word"], empty["lexicon_node"] = ROW, NONE, NONE, ROOT
    empty["lm_state"], empty["phrase_node"] = grammar.start, ROOT
    return beam


def start_histories() -> Records:
    """The empty history, in the first row."""
    histories = np.zeros(256, dtype=HISTORY)
    histories["parent"] = histories["word"] = NONE
    return histories


def start_places() -> NDArray[np.int32]:
    """Places for histories, all free."""
    return np.full(1024, NONE, dtype=np.int32)


def start_cache() -> Records:
    """Room for what the language model says, for any number of searches in turn."""
    cache = np.zeros(REMEMBERED, dtype=STEP)
    cache["state"] = NONE
    return cache


@compiled
def _look_back(
    beam: Records,
    size: int,
    histories: Records,
    marks: NDArray[np.int32],
    frame: int,
    complete: NDArray[np.int32],
) -> int:
    """Note what all prefixes share by now; where they differ in what is too old, keep those that
    agree with the best. Returns how many there are."""
    common, oldest = what_is_shared(beam, size, histories, frame)
    while frame - oldest > MAX_OPEN:
        rivals = beam[:size].copy()
        kept = keep_branch(rivals, size, histories, common)
        if not any_complete(rivals[:kept], complete):
            break  # the utterance could not end
        size = kept
        for slot in range(size):
            beam[slot] = rivals[slot]
        common, oldest = what_is_shared(beam, size, histories, frame)
    note_shared(marks, common)
    return size


@compiled
def compact_histories(
    beam: Records, size: int, histories: Records, marks: NDArray[np.int32], root: int
) -> tuple[Records, int, NDArray[np.int32]]:
    """The histories that prefixes of the beam begin with, their number and places; ``root`` is the
    new first row."""
    numbers = renumbered(beam, size, histories, marks, root)
    smaller = np.empty(256 + 2 * (numbers >= 0).sum(), dtype=HISTORY)
    rows = 0
    for row in range(root, len(histories)):
        if numbers[row] == NONE:
            continue
        smaller[rows] = histories[row]
        smaller[rows].parent = numbers[histories[row].parent] if rows > 0 else NONE
        rows += 1
    for slot in range(size):
        prefix = beam[slot]
        prefix.row = numbers[prefix.row]
        prefix.parent = numbers[prefix.parent] if prefix.parent >= 0 else NONE
    return smaller, rows, _more_places(smaller, rows, 0)


@inlined
def _keep_chosen(
    next_beam: Records,
    chosen: NDArray[np.int32],
    beam: Records,
    histories: Records,
    places: NDArray[np.int32],
    rows: int,
    frame: int,
) -> int:
    """Put the ``chosen (K,)`` into the beam, new histories behind the others; returns how many."""
    for slot in range(len(chosen)):
        beam[slot] = next_beam[chosen[slot]]
        prefix = beam[slot]
        if prefix.row == NONE:
            prefix.row = _find_history(histories, places, rows, prefix.parent, prefix.word, frame)
            rows = max(rows, prefix.row + 1)
    return rows


@inlined
def _find_history(
    histories: Records,
    places: NDArray[np.int32],
    rows: int,
    parent: int,
    word: int,
    frame: int,
) -> int:
    """The row of ``parent`` with ``word``; a new one at the end if there is none."""
    at = _place_of_history(histories, places, parent, word)
    if places[at] == NONE:
        places[at] = rows
        new = histories[rows]
        new.parent, new.word, new.frame = parent, word, frame
    return int(places[at])


@inlined
def _place_of_history(histories: Records, places: NDArray[np.int32], parent: int, word: int) -> int:
    """Where in ``places`` that history is, or a free place for it."""
    mask = len(places) - 1
    at = _mix(parent, word, 0) & mask
    while places[at] != NONE:
        held = histories[places[at]]
        if held.parent == parent and held.word == word:
            break
        at = (at + 1) & mask
    return at


@inlined
def _mix(a: int, b: int, c: int) -> int:
    """A number of many digits that three small ones rarely share with others."""
    mixed = a * 0x9E3779B1 + b * 0x85EBCA77 + c * 0xC2B2AE3D
    return mixed ^ (mixed >> 15)


@compiled
def _more_places(histories: Records, rows: int, more: int) -> NDArray[np.int32]:
    """Places for twice as many histories as there are going to be, those there are in theirs."""
    size = 1024
    while size < 4 * (rows + more):
        size *= 2
    places = np.full(size, NONE, dtype=np.int32)
    for row in range(1, rows):
        held = histories[row]
        places[_place_of_history(histories, places, held.parent, held.word)] = row
    return places


@inlined
def _find_place(
    table: Table, frame: int, prefixes: Records, parent: int, word: int, node: int
) -> int:
    """Where in the ``table`` that prefix is, or a free place for it."""
    mask = len(table) - 1
    at = _mix(parent, word, node) & mask
    while table[at, 0] == frame:
        held = prefixes[table[at, 1]]
        if held.lexicon_node == node and held.parent == parent and held.word == word:
            break
        at = (at + 1) & mask
    return at


@inlined
def _take(table: Table, frame: int, prefixes: Records, index: int) -> None:
    """Note in the ``table`` where a new prefix is."""
    new = prefixes[index]
    at = _find_place(table, frame, prefixes, new.parent, new.word, new.lexicon_node)
    table[at, 0], table[at, 1] = frame, index


@compiled
def _larger(prefixes: Records, count: int, need: int, frame: int) -> Table:
    """A table for that many, with those that there are."""
    size = 1024
    while size < 4 * (count + need):
        size *= 2
    table = np.zeros((size, 2), dtype=np.int32)
    for index in range(count):
        _take(table, frame, prefixes, index)
    return table


# The functions below take arrays, and not the tuples that hold them: numba counts the references to
# all arrays of a tuple in each call, which took half of the time.


@inlined
def _step(cache: Records, trie: Trie, state: int, word: int) -> tuple[float, int]:
    """:func:`asr.lm.trie.step`, remembered: a word is asked for in frame after frame."""
    held = cache[_mix(state, word, 0) & (len(cache) - 1)]
    if held.state != state or held.word != word:
        held.state, held.word = state, word
        held.log10, held.after = step(trie, state, word)
    return held.log10, held.after


@inlined
def _best_of(
    cache: Records, trie: Trie, state: int, words: NDArray[np.int32], below: float
) -> float:
    """log10 of the best of ``words``, exactly, and of those ``below``, by 1-grams.

    Words that would have to be surprisingly probable here to be the best are not asked for.
    """
    best = below
    for word in words:
        if trie.log_probs[1 + word] + SURPRISE > best:
            log10, _ = _step(cache, trie, state, word)
            best = max(best, log10)
    return best


@inlined
def _phrases_ahead(boosts: WordBoosts, phrase_node: int, node: int, words: int) -> float:
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
def _arrive(new: Any, source: Any, node: int, log_said: float, bonus: float) -> None:
    """Fill in ``new``: ``source`` goes on to ``node``, by a token with that probability."""
    new.log_blank, new.log_token, new.log_total = NEVER, log_said, log_said
    new.lm_score, new.bonus, new.lookahead = source.lm_score, source.bonus + bonus, 0.0
    new.row, new.parent, new.word, new.lexicon_node = source.row, source.parent, source.word, node
    new.lm_state, new.phrase_node = source.lm_state, source.phrase_node


@inlined
def _end_word(ended: Any, prefix: Any, word: int) -> None:
    """Fill in ``ended``: the history of ``prefix`` and ``word``, not scored."""
    ended.lm_score, ended.bonus, ended.lm_state = prefix.lm_score, prefix.bonus, prefix.lm_state
    ended.row, ended.parent, ended.word = NONE, prefix.row, word
    ended.phrase_node = prefix.phrase_node


@inlined
def _end_phrases(ended: Any, word: int, boosts: WordBoosts) -> None:
    """Add what the phrases earn that end with the word of ``ended``."""
    ended.phrase_node = follow_phrases(boosts.phrases, ended.phrase_node, word)
    ended.bonus += boosts.phrases.gains[ended.phrase_node]


@inlined
def _stay(
    t: int, beam: Records, size: int, next_beam: Records, table: Table, blank: float
) -> tuple[float, float]:
    """The beam's prefixes after a blank, each in the row of its slot; returns the highest and the
    lowest of their ranks.
    """
    best, least = NEVER, math.inf
    for slot in range(size):
        next_beam[slot] = beam[slot]
        prefix = next_beam[slot]
        prefix.log_blank = prefix.log_total + blank
        prefix.log_token = NEVER
        rank = prefix.log_blank + prefix.lm_score + prefix.bonus + prefix.lookahead
        best, least = max(best, rank), min(least, rank)
        _take(table, t, next_beam, slot)
    return best, least


@inlined
def _last_again(
    prefix: Any,
    stays: Any,
    likely: NDArray[np.int32],
    frame: NDArray[np.float64],
    last: int,
    silence: int,
    silence_of: NDArray[np.int32],
) -> None:
    """The last token lasts, if it is likely. A silence after a blank is no other silence."""
    for k in likely:
        if k == last or (silence >= 0 and silence_of[k] == silence):
            log_before = prefix.log_token if silence < 0 else prefix.log_total
            stays.log_token = add_logs(stays.log_token, log_before + frame[k])


@compiled
def _extend_all(
    t: int,
    frame: NDArray[np.float64],
    likely: NDArray[np.int32],
    is_likely: NDArray[np.bool_],
    beam: Records,
    size: int,
    next_beam: Records,
    table: Table,
    cache: Records,
    options: Options,
    grammar: WordGrammar,
    boosts: WordBoosts,
) -> tuple[int, Records, Table]:
    """All prefixes one frame later: those of the beam in the rows of their slots, then new ones;
    returns how many, and the arrays, which may be longer ones. Frames count from 1.
    """
    tokens, children = grammar.tree.tokens, grammar.tree.children
    first, begins, words, below = grammar.first, grammar.begins, grammar.words, grammar.below
    upper, lm_words, trie = grammar.upper, grammar.lm_words, grammar.trie
    silence_of, silences, has_lm = grammar.silence_of, grammar.silences, grammar.has_lm
    lm_weight, has_phrases = options.lm_weight, boosts.phrases.any
    M, J, unknown_word = len(below), len(silences), grammar.unknown
    open_words = options.unk_score > NEVER
    if len(next_beam) < 2 * size:
        next_beam = np.empty(4 * size, dtype=WORD_PREFIX)
    if len(table) < 4 * size:
        table = _larger(next_beam, 0, size, t)
    best, least = _stay(t, beam, size, next_beam, table, frame[BLANK_ID])
    if size < options.beam_width:
        least = NEVER  # there is room for all
    # No token adds more than this to what is not acoustic: the model's look-ahead is never above 0.
    most = max(0.0, options.word_score) + boosts.most
    count = size
    scratch = np.empty(1, dtype=WORD_PREFIX)
    ended = scratch[0]
    for slot in range(size):
        prefix = beam[slot]
        node = prefix.lexicon_node
        waits = node == ROOT or M <= node < M + J  # for a word to begin
        silence, last = NONE, BLANK_ID  # which of the silences it is in; the token said last
        if M <= node < M + J:
            silence = node - M
            last = silences[silence]
        elif node >= M + J:
            last = node - M - J
        elif node != ROOT:
            last = tokens[node]
        elif grammar.begins_quiet:
            silence = 0
        unknown = node >= M + J
        begin, end = 0, 1  # of words that may end here; one, which is unknown or has ended
        need = len(likely)
        if 0 < node < M:
            begin, end = begins[node], begins[node + 1]
            need = children[node + 1] - children[node]
        need += 3 * len(likely) * (end - begin)
        next_beam = grow(next_beam, count, need)
        if len(table) < 2 * (count + need):
            table = _larger(next_beam, count, need, t)
        hope = prefix.lm_score + prefix.bonus + most
        _last_again(prefix, next_beam[slot], likely, frame, last, silence, silence_of)
        if 0 < node < M:
            # The word goes on: a node has few children, most of which are no likely tokens.
            for child in range(children[node], children[node + 1]):
                k = tokens[child]
                if not is_likely[k]:
                    continue
                log_said = (prefix.log_blank if k == last else prefix.log_total) + frame[k]
                bar = max(least, best - options.beam_threshold)
                most_rank = log_said + hope + lm_weight * upper[child]
                if most_rank < bar - NEGLIGIBLE or log_said == NEVER:
                    continue
                at = _find_place(table, t, next_beam, prefix.parent, prefix.word, child)
                if table[at, 0] == t:  # it is there already: paths meet
                    meets = next_beam[table[at, 1]]
                    meets.log_token = add_logs(meets.log_token, log_said)
                elif most_rank >= bar:
                    new = next_beam[count]
                    _arrive(new, prefix, child, log_said, 0.0)
                    if has_lm:
                        own = lm_words[begins[child] : begins[child + 1]]
                        ahead = _best_of(cache, trie, new.lm_state, own, below[child])
                        new.lookahead = lm_weight * ahead
                    if has_phrases:
                        new.lookahead += _phrases_ahead(boosts, new.phrase_node, child, M)
                    new.rank = log_said + new.lm_score + new.bonus + new.lookahead
                    if new.rank >= bar:
                        best = max(best, new.rank)
                        table[at, 0], table[at, 1] = t, count
                        count += 1
            hope += prefix.lookahead  # words that end here are no better than it says
        may_begin = waits or not grammar.separated
        begins_unknown = may_begin and not unknown
        for i in range(begin, end):
            word = words[i] if 0 < node < M else unknown_word
            parent, name = prefix.row, word
            if waits:
                parent, name = prefix.parent, prefix.word
                scratch[0] = prefix
            is_scored = waits
            for k in likely:
                j = silence_of[k]
                if j < 0 and not may_begin and not unknown:
                    continue
                log_start = (prefix.log_blank if k == last else prefix.log_total) + frame[k]
                bar = max(least, best - options.beam_threshold)
                if log_start + hope < bar - NEGLIGIBLE or log_start == NEVER:
                    continue
                # A silence, a known or an unknown word begins, or the unknown word goes on.
                for way in range(
                    SILENCE if j >= 0 else KNOWN, GOES_ON + 1 if open_words else UNKNOWN
                ):
                    log_said, bonus, target = log_start, 0.0, NONE
                    if way == SILENCE:
                        if j != silence:
                            target = M + j
                    elif way == KNOWN:
                        if may_begin:
                            target, bonus = first[k], options.word_score
                    elif j < 0 and (unknown if way == GOES_ON else begins_unknown):
                        target = M + J + k
                        log_said += grammar.unknown_token
                        if way == UNKNOWN:
                            bonus = options.word_score + options.unk_score
                    if target < 0:
                        continue
                    most_rank = log_said + hope + (lm_weight * upper[target] if target < M else 0.0)
                    if most_rank < bar - NEGLIGIBLE:
                        continue
                    above, said_last = parent, name
                    if way == GOES_ON:
                        above, said_last = prefix.parent, prefix.word
                    at = _find_place(table, t, next_beam, above, said_last, target)
                    if table[at, 0] == t:
                        meets = next_beam[table[at, 1]]
                        meets.log_token = add_logs(meets.log_token, log_said)
                        continue
                    if most_rank < bar:
                        continue
                    if way == GOES_ON:
                        scratch[0] = prefix
                        is_scored = False
                    elif not is_scored:
                        _end_word(ended, prefix, word)
                        if has_lm:
                            lm_word = grammar.lm_unknown if unknown else lm_words[i]
                            log10, after = _step(cache, trie, prefix.lm_state, lm_word)
                            ended.lm_score += lm_weight * log10
                            ended.lm_state = after
                        if has_phrases:
                            _end_phrases(ended, word, boosts)
                        is_scored = True
                    new = next_beam[count]
                    _arrive(new, ended, target, log_said, bonus)
                    if has_lm and target < M:
                        own = lm_words[begins[target] : begins[target + 1]]
                        ahead = _best_of(cache, trie, new.lm_state, own, below[target])
                        new.lookahead = lm_weight * ahead
                    elif has_lm and target >= M + J:
                        log10, _ = _step(cache, trie, new.lm_state, grammar.lm_unknown)
                        new.lookahead = lm_weight * log10
                    if has_phrases:
                        new.lookahead += _phrases_ahead(boosts, new.phrase_node, target, M)
                    new.rank = log_said + new.lm_score + new.bonus + new.lookahead
                    if new.rank >= bar:
                        best = max(best, new.rank)
                        table[at, 0], table[at, 1] = t, count
                        count += 1
    for index in range(count):
        each = next_beam[index]
        each.log_total = add_logs(each.log_blank, each.log_token)
        each.rank = each.log_total + each.lm_score + each.bonus + each.lookahead
    return count, next_beam, table


@compiled
def end_words(
    beam: Records, size: int, options: Options, grammar: WordGrammar, boosts: WordBoosts
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Word sequences ``(k, 2)`` and their scores ``(k, 3)``, the end of the sentence scored."""
    M, J = len(grammar.below), len(grammar.silences)
    most = 0
    for slot in range(size):
        node = beam[slot].lexicon_node
        most += grammar.begins[node + 1] - grammar.begins[node] if 0 < node < M else 1
    words = np.empty((most, 2), dtype=np.int32)
    scores = np.empty((most, 3))
    scratch = np.empty(1, dtype=WORD_PREFIX)
    count = 0
    for slot in range(size):
        prefix = beam[slot]
        node = prefix.lexicon_node
        waits = node == ROOT or M <= node < M + J
        begin, end = 0, 1
        if 0 < node < M:
            begin, end = grammar.begins[node], grammar.begins[node + 1]
        for i in range(begin, end):
            scratch[0] = prefix
            ended = scratch[0]
            if not waits:
                word = grammar.words[i] if node < M else grammar.unknown
                _end_word(ended, prefix, word)
                if grammar.has_lm:
                    lm_word = grammar.lm_words[i] if node < M else grammar.lm_unknown
                    log10, after = step(grammar.trie, prefix.lm_state, lm_word)
                    ended.lm_score += options.lm_weight * log10
                    ended.lm_state = after
                if boosts.phrases.any:
                    _end_phrases(ended, word, boosts)
            same = 0
            while same < count and (words[same, 0] != ended.parent or words[same, 1] != ended.word):
                same += 1
            if same < count:  # said in another way, or with a silence at the end
                scores[same, 0] = add_logs(scores[same, 0], prefix.log_total)
                continue
            if grammar.has_lm:
                log10, _ = step(grammar.trie, ended.lm_state, grammar.end)
                ended.lm_score += options.lm_weight * log10
            words[count, 0], words[count, 1] = ended.parent, ended.word
            scores[count, 0] = prefix.log_total
            scores[count, 1], scores[count, 2] = ended.lm_score, ended.bonus
            count += 1
    return words[:count], scores[:count]
