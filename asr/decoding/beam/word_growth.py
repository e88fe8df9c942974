"""Prefixes over words grow by a frame: the recursion of :mod:`asr.decoding.beam.word_search`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, inlined
from asr.decoding.beam.frames import NEVER, add_logs, grow, stay
from asr.decoding.beam.scoring import Options, WordBoosts
from asr.decoding.beam.tables import NONE, WORD_PREFIX, Records
from asr.decoding.beam.tree import ROOT
from asr.decoding.beam.word_places import Table, find_place, larger_table, take_place
from asr.decoding.beam.word_scores import (
    best_of,
    end_phrases,
    end_word,
    phrases_ahead,
    remembered_step,
)
from asr.decoding.beam.words import WordGrammar
from asr.tokens import BLANK_ID

__all__ = ["extend_all"]

SILENCE, KNOWN, UNKNOWN, GOES_ON = range(4)
NEGLIGIBLE = 16.0  # what is so much below what may enter the beam changes no sum in it: 1e-7

# The functions take arrays, and not the tuples that hold them: numba counts the references to all
# arrays of a tuple in each call, which took half of the time.


@compiled
def extend_all(
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
        table = larger_table(next_beam, 0, size, t)
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
            table = larger_table(next_beam, count, need, t)
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
                at = find_place(table, t, next_beam, prefix.parent, prefix.word, child)
                if table[at, 0] == t:  # it is there already: paths meet
                    meets = next_beam[table[at, 1]]
                    meets.log_token = add_logs(meets.log_token, log_said)
                elif most_rank >= bar:
                    new = next_beam[count]
                    _arrive(new, prefix, child, log_said, 0.0)
                    if has_lm:
                        own = lm_words[begins[child] : begins[child + 1]]
                        ahead = best_of(cache, trie, new.lm_state, own, below[child])
                        new.lookahead = lm_weight * ahead
                    if has_phrases:
                        new.lookahead += phrases_ahead(boosts, new.phrase_node, child, M)
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
                    at = find_place(table, t, next_beam, above, said_last, target)
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
                        end_word(ended, prefix, word)
                        if has_lm:
                            lm_word = grammar.lm_unknown if unknown else lm_words[i]
                            log10, after = remembered_step(cache, trie, prefix.lm_state, lm_word)
                            ended.lm_score += lm_weight * log10
                            ended.lm_state = after
                        if has_phrases:
                            end_phrases(ended, word, boosts)
                        is_scored = True
                    new = next_beam[count]
                    _arrive(new, ended, target, log_said, bonus)
                    if has_lm and target < M:
                        own = lm_words[begins[target] : begins[target + 1]]
                        ahead = best_of(cache, trie, new.lm_state, own, below[target])
                        new.lookahead = lm_weight * ahead
                    elif has_lm and target >= M + J:
                        log10, _ = remembered_step(cache, trie, new.lm_state, grammar.lm_unknown)
                        new.lookahead = lm_weight * log10
                    if has_phrases:
                        new.lookahead += phrases_ahead(boosts, new.phrase_node, target, M)
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


@inlined
def _stay(
    t: int, beam: Records, size: int, next_beam: Records, table: Table, blank: float
) -> tuple[float, float]:
    """The beam's prefixes after a blank, each in the row of its slot; returns the highest and the
    lowest of their ranks.
    """
    best, least = stay(beam, size, next_beam, blank)
    for slot in range(size):
        take_place(table, t, next_beam, slot)
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


@inlined
def _arrive(new: Any, source: Any, node: int, log_said: float, bonus: float) -> None:
    """Fill in ``new``: ``source`` goes on to ``node``, by a token with that probability."""
    new.log_blank, new.log_token, new.log_total = NEVER, log_said, log_said
    new.lm_score, new.bonus, new.lookahead = source.lm_score, source.bonus + bonus, 0.0
    new.row, new.parent, new.word, new.lexicon_node = source.row, source.parent, source.word, node
    new.lm_state, new.phrase_node = source.lm_state, source.phrase_node
