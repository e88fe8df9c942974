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
from asr.decoding.beam.pruning import choose_rows
from asr.decoding.beam.scoring import Options, find_child
from asr.decoding.beam.search import add_logs, find_likely
from asr.decoding.beam.tables import HISTORY, NONE, WORD_PREFIX, Records
from asr.decoding.beam.tree import ROOT
from asr.decoding.beam.words import WordGrammar
from asr.lm.trie import step
from asr.tokens import BLANK_ID

__all__ = ["search_words"]

NEVER = -math.inf
ROW = 0  # of the empty history
Table = NDArray[
    np.int32
]  # (H, 2), H a power of 2: the frame in which a place was taken, and by whom


@compiled
def search_words(
    log_probs: NDArray[np.float64],
    options: Options,
    grammar: WordGrammar,
    flag: NDArray[np.uint8],
) -> tuple[int, Records, NDArray[np.int32], NDArray[np.float64]]:
    """Search ``log_probs (T, V)``.

    Returns:
        The number of frames taken, less than T if ``flag`` was set or nothing is possible in the
        next; all histories, ``(n,)`` of HISTORY; and of word sequences in no order ``(k, 2)``, the
        row of all but the last word and the last word, both NONE where there is none, and
        ``(k, 3)``, the acoustic score, the language model's and the bonus.
    """
    T, V = log_probs.shape
    size, rows = 1, 1  # prefixes in the beam, and histories
    beam = _start_beam(grammar)
    next_beam = np.empty(256, dtype=WORD_PREFIX)
    table = np.zeros((1024, 2), dtype=np.int32)
    histories = _start_histories()
    likely = np.empty(V, dtype=np.int32)
    for t in range(T):
        if flag[0]:
            return t, histories, np.empty((0, 2), dtype=np.int32), np.empty((0, 3))
        count = find_likely(log_probs[t], options.token_min_log_prob, likely)
        if count == 0 and log_probs[t, BLANK_ID] > NEVER:
            _add_blank(beam, size, log_probs[t, BLANK_ID])
            continue
        found, next_beam, table = _extend_all(
            t + 1, log_probs[t], likely[:count], beam, size, next_beam, table, options, grammar
        )
        chosen = choose_rows(next_beam[:found], options, grammar.complete, True)
        if not len(chosen):
            return t, histories, np.empty((0, 2), dtype=np.int32), np.empty((0, 3))
        size = len(chosen)
        if len(beam) < size:
            beam = np.empty(2 * size, dtype=WORD_PREFIX)
        histories = _grow(histories, rows, size)
        rows = _keep_chosen(next_beam, chosen, beam, histories, rows)
    words, scores = _finish(beam, size, options, grammar)
    return T, histories, words, scores


@compiled
def _start_beam(grammar: WordGrammar) -> Records:
    """The empty history at the root, in the first slot."""
    beam = np.empty(64, dtype=WORD_PREFIX)
    empty = beam[0]
    empty.log_blank, empty.log_token, empty.log_total = 0.0, NEVER, 0.0
    empty.lm_score, empty.bonus, empty.lookahead, empty.rank = 0.0, 0.0, 0.0, 0.0
    empty.row, empty.parent, empty.word, empty.lexicon_node = ROW, NONE, NONE, ROOT
    empty.lm_state, empty.phrase_node = grammar.start, ROOT
    return beam


@compiled
def _start_histories() -> Records:
    histories = np.empty(256, dtype=HISTORY)
    root = histories[ROW]
    root.parent, root.word, root.first_child, root.next_sibling = NONE, NONE, NONE, NONE
    return histories


@inlined
def _grow(histories: Records, rows: int, more: int) -> Records:
    """``histories``, or a longer copy if that many more rows do not fit."""
    if rows + more <= len(histories):
        return histories
    longer = np.empty(2 * (rows + more), dtype=HISTORY)
    longer[:rows] = histories[:rows]
    return longer


@inlined
def _keep_chosen(
    next_beam: Records, chosen: NDArray[np.int32], beam: Records, histories: Records, rows: int
) -> int:
    """Put the ``chosen (K,)`` into the beam, new histories behind the others; returns how many."""
    for slot in range(len(chosen)):
        beam[slot] = next_beam[chosen[slot]]
        prefix = beam[slot]
        if prefix.row == NONE:
            prefix.row = _find_history(histories, rows, prefix.parent, prefix.word)
            rows = max(rows, prefix.row + 1)
    return rows


@inlined
def _find_history(histories: Records, rows: int, parent: int, word: int) -> int:
    """The row of ``parent`` with ``word``; a new one at the end if there is none."""
    row = histories[parent].first_child
    while row >= 0 and histories[row].word != word:
        row = histories[row].next_sibling
    if row >= 0:
        return int(row)
    new = histories[rows]
    new.parent, new.word, new.first_child = parent, word, NONE
    new.next_sibling = histories[parent].first_child
    histories[parent].first_child = rows
    return rows


@inlined
def _add_blank(beam: Records, size: int, blank: float) -> None:
    """A frame in which nothing but the blank is worth a try."""
    for slot in range(size):
        prefix = beam[slot]
        prefix.log_total += blank
        prefix.log_blank = prefix.log_total
        prefix.log_token = NEVER


@compiled
def _find_place(
    table: Table, frame: int, prefixes: Records, parent: int, word: int, node: int
) -> int:
    """Where in the ``table`` that prefix is, or a free place for it."""
    mask = len(table) - 1
    mixed = parent * 0x9E3779B1 + word * 0x85EBCA77 + node * 0xC2B2AE3D
    at = (mixed ^ (mixed >> 15)) & mask
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
def _longer(prefixes: Records, count: int, need: int) -> Records:
    longer = np.empty(2 * (count + need), dtype=WORD_PREFIX)
    longer[:count] = prefixes[:count]
    return longer


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


@inlined
def _last_token(node: int, grammar: WordGrammar) -> int:
    """The token that was said last; the blank where none was."""
    M, J = len(grammar.below), len(grammar.silences)
    if node == ROOT:
        return BLANK_ID
    if node < M:
        return int(grammar.tree.tokens[node])
    if node < M + J:
        return int(grammar.silences[node - M])
    return node - M - J


@compiled
def _look_ahead(state: int, node: int, options: Options, grammar: WordGrammar) -> float:
    """The best of the words that end in ``node``, exactly, and of those below, by 1-grams."""
    if not grammar.has_lm:
        return 0.0
    best: float = grammar.below[node]
    for i in range(grammar.begins[node], grammar.begins[node + 1]):
        log10, _ = step(grammar.trie, state, grammar.lm_words[grammar.words[i]])
        best = max(best, log10)
    return options.lm_weight * best


@compiled
def _move(
    new: Any,
    source: Any,
    node: int,
    log_said: float,
    bonus: float,
    options: Options,
    grammar: WordGrammar,
) -> None:
    """Fill in ``new``: ``source`` goes on to ``node``, by a token with that log-probability."""
    new.log_blank, new.log_token, new.log_total = NEVER, log_said, log_said
    new.lm_score, new.bonus, new.lookahead = source.lm_score, source.bonus + bonus, 0.0
    new.row, new.parent, new.word, new.lexicon_node = source.row, source.parent, source.word, node
    new.lm_state, new.phrase_node = source.lm_state, source.phrase_node
    M, J = len(grammar.below), len(grammar.silences)
    if node < M:
        new.lookahead = _look_ahead(new.lm_state, node, options, grammar)
    elif node >= M + J and grammar.has_lm:
        log10, _ = step(grammar.trie, new.lm_state, grammar.lm_words[-1])
        new.lookahead = options.lm_weight * log10
    new.rank = log_said + new.lm_score + new.bonus + new.lookahead


@compiled
def _end_word(ended: Any, prefix: Any, word: int, options: Options, grammar: WordGrammar) -> None:
    """Fill in ``ended``: the history of ``prefix`` and ``word``."""
    ended.lm_score, ended.bonus, ended.lm_state = prefix.lm_score, prefix.bonus, prefix.lm_state
    ended.row, ended.parent, ended.word = NONE, prefix.row, word
    ended.phrase_node = prefix.phrase_node
    if grammar.has_lm:
        log10, ended.lm_state = step(grammar.trie, prefix.lm_state, grammar.lm_words[word])
        ended.lm_score += options.lm_weight * log10


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


@compiled
def _extend_all(
    t: int,
    frame: NDArray[np.float64],
    likely: NDArray[np.int32],
    beam: Records,
    size: int,
    next_beam: Records,
    table: Table,
    options: Options,
    grammar: WordGrammar,
) -> tuple[int, Records, Table]:
    """All prefixes one frame later: those of the beam in the rows of their slots, then new ones;
    returns how many, and the arrays, which may be longer ones. Frames count from 1.
    """
    M, J = len(grammar.below), len(grammar.silences)
    open_words = options.unk_score > NEVER
    unk_token = -math.log(max(1.0, len(frame) - 1.0 - J))  # an unknown word's tokens are all alike
    if len(next_beam) < 2 * size:
        next_beam = np.empty(4 * size, dtype=WORD_PREFIX)
    if len(table) < 4 * size:
        table = _larger(next_beam, 0, size, t)
    best, least = _stay(t, beam, size, next_beam, table, frame[BLANK_ID])
    if size < options.beam_width:
        least = NEVER  # there is room for all
    # No token adds more than this to what is not acoustic: look-ahead is never above 0.
    most = max(0.0, options.word_score)
    count = size
    scratch = np.empty(1, dtype=WORD_PREFIX)
    for slot in range(size):
        prefix = beam[slot]
        node = prefix.lexicon_node
        last = _last_token(node, grammar)
        waits = node == ROOT or M <= node < M + J  # for a word to begin
        begin, end = 0, 1  # of words that may end here; one, which is unknown or has ended
        if 0 < node < M:
            begin, end = grammar.begins[node], grammar.begins[node + 1]
        need = len(likely) * (1 + 3 * (end - begin))
        if len(next_beam) < count + need:
            next_beam = _longer(next_beam, count, need)
        if len(table) < 2 * (count + need):
            table = _larger(next_beam, count, need, t)
        hope = prefix.lm_score + prefix.bonus + most
        stays = next_beam[slot]
        for k in likely:
            if k == last:
                stays.log_token = add_logs(stays.log_token, prefix.log_token + frame[k])
                if waits:  # a silence after a blank is no other one
                    stays.log_token = add_logs(stays.log_token, prefix.log_blank + frame[k])
        if not waits:
            for k in likely:  # the word goes on
                log_said = (prefix.log_blank if k == last else prefix.log_total) + frame[k]
                target = NONE
                if node < M:
                    target = find_child(grammar.tree, node, k)
                elif grammar.silence_of[k] < 0:
                    target = M + J + k
                    log_said += unk_token
                if target < 0 or log_said == NEVER:
                    continue
                at = _find_place(table, t, next_beam, prefix.parent, prefix.word, target)
                if table[at, 0] == t:  # it is there already: paths meet
                    meets = next_beam[table[at, 1]]
                    meets.log_token = add_logs(meets.log_token, log_said)
                    continue
                bar = max(least, best - options.beam_threshold)
                if log_said + hope < bar:
                    continue
                new = next_beam[count]
                _move(new, prefix, target, log_said, 0.0, options, grammar)
                if new.rank >= bar:
                    best = max(best, new.rank)
                    table[at, 0], table[at, 1] = t, count
                    count += 1
        for i in range(begin, end):
            word = len(grammar.lm_words) - 1
            if 0 < node < M:
                word = grammar.words[i]
            parent, name = prefix.row, word
            if waits:
                parent, name = prefix.parent, prefix.word
                scratch[0] = prefix
            ended = scratch[0]
            is_scored = waits
            for k in likely:
                for way in range(3):  # a silence, or a known or an unknown word begins
                    log_said = (prefix.log_blank if k == last else prefix.log_total) + frame[k]
                    bonus, target = 0.0, NONE
                    if way == 0:
                        if grammar.silence_of[k] >= 0 and not (waits and k == last):
                            target = M + grammar.silence_of[k]
                    elif waits or not grammar.separated:
                        bonus = options.word_score
                        if way == 1:
                            target = grammar.first[k]
                        elif open_words and grammar.silence_of[k] < 0 and node < M + J:
                            target = M + J + k
                            log_said += unk_token
                            bonus += options.unk_score
                    if target < 0 or log_said == NEVER:
                        continue
                    at = _find_place(table, t, next_beam, parent, name, target)
                    if table[at, 0] == t:
                        meets = next_beam[table[at, 1]]
                        meets.log_token = add_logs(meets.log_token, log_said)
                        continue
                    bar = max(least, best - options.beam_threshold)
                    if log_said + hope < bar:
                        continue
                    if not is_scored:
                        _end_word(ended, prefix, word, options, grammar)
                        is_scored = True
                    new = next_beam[count]
                    _move(new, ended, target, log_said, bonus, options, grammar)
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
def _finish(
    beam: Records, size: int, options: Options, grammar: WordGrammar
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
                word = grammar.words[i] if node < M else len(grammar.lm_words) - 1
                _end_word(ended, prefix, word, options, grammar)
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
