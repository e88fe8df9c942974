"""Prefix beam search, compiled: the inner loop of :mod:`asr.decoding.beam.decoder`.

Hannun et al., "First-pass large vocabulary continuous speech recognition using bi-directional
recurrent DNNs" (2014), algorithm 1. A prefix carries the log-probabilities of its paths that end in
a blank and in its last token; paths that meet in a prefix are added up.

A frame makes ``next_beam`` of ``beam``, with y the frame's probabilities and p one of the K
prefixes::

    blank:             log_blank'(p)     =  log_total(p) + y(blank)
    the last token k:  log_token'(p)     =  log_token(p) + y(k)     the token lasts
                       log_token'(p + k) =  log_blank(p) + y(k)     it is said again, after a blank
    another token k:   log_token'(p + k) =  log_total(p) + y(k)

What is equal is added up, and the K that rank highest are the next ``beam``. Two tables tell what
is equal: the prefix tree has each prefix once, and ``children`` says which prefix of the beam is
which other's child.

Texts that differ only in spaces are the same text. A separator at the beginning, or after another,
therefore makes no new prefix: its paths stay in the one they are in. One at the end is a prefix of
its own, since a word has ended there, but as a text it is that of its parent, to which it is added
when the utterance ends. What a separator costs is owed until another word begins.

Compiling takes some seconds, once (:mod:`asr.compiled`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, inlined
from asr.decoding.beam.frames import NEVER, add_blank, add_logs, find_likely, grow, stay
from asr.decoding.beam.pruning import any_complete, choose_rows
from asr.decoding.beam.scoring import (
    NO_LM,
    Boosts,
    Grammar,
    Options,
    end_word,
    follow_phrases,
    score_token,
)
from asr.decoding.beam.sharing import (
    CHECK,
    MAX_OPEN,
    keep_branch,
    note_shared,
    renumbered,
    what_is_shared,
)
from asr.decoding.beam.tables import NODE, NONE, PREFIX, Records
from asr.lm.trie import step
from asr.tokens import BLANK_ID

__all__ = ["compact", "search", "start_beam", "start_tree"]

ROW = 0  # of the empty prefix in the tree


@compiled
def search(
    log_probs: NDArray[np.float64],
    ends: bool,
    beam: Records,
    size: int,
    tree: Records,
    nodes: int,
    marks: NDArray[np.int32],
    frame: int,
    options: Options,
    grammar: Grammar,
    boosts: Boosts,
    flag: NDArray[np.uint8],
) -> tuple[int, Records, int, Records, int, NDArray[np.int32], NDArray[np.float64]]:
    """Go on with a search: take the next frames, ``log_probs (T, V)``.

    Args:
        ends: whether they are the last: then complete labellings are looked for.
        beam, size: the prefixes, ``(K,)`` or longer, and K.
        tree, nodes: the prefix tree and the number of its rows.
        marks: what was shared of late, which is changed.
        frame: how many frames were taken before.

    Returns:
        The number of frames taken, less than T if ``flag`` was set or nothing is possible in the
        next; beam, size, tree and nodes after them; and, of complete labellings in no order, their
        rows there, ``(k,)``, and ``(k, 3)`` the acoustic score, the language model's and the bonus.
    """
    T, V = log_probs.shape
    closed = grammar.has_lexicon and options.unk_score == -math.inf
    no_rows, no_scores = np.empty(0, dtype=np.int32), np.empty((0, 3))
    next_beam = np.empty(256, dtype=PREFIX)
    likely = np.empty(V, dtype=np.int32)
    children = np.full((64, V), NONE, dtype=np.int32)  # slots by the parent's slot and last token
    for t in range(T):
        if flag[0]:
            return t, beam, size, tree, nodes, no_rows, no_scores
        if (frame + t) % CHECK == 0:
            size = _look_back(beam, size, tree, marks, frame + t, grammar.words, closed)
        count = find_likely(log_probs[t], options.token_min_log_prob, likely)
        if count == 0 and log_probs[t, BLANK_ID] > NEVER:
            add_blank(beam, size, log_probs[t, BLANK_ID])
            continue
        # Room for the worst case, in which every prefix is extended by every likely token.
        if len(children) < size:
            children = np.full((2 * size, V), NONE, dtype=np.int32)
        if len(next_beam) < size * (1 + count):
            next_beam = np.empty(256 + size * (1 + count), dtype=PREFIX)
        # The table of children is cleared entry by entry: it has K * V, of which K - 1 are set.
        _link_children(beam, size, tree, children, True)
        found = _extend_all(
            log_probs[t], likely[:count], beam, size, children, next_beam, options, grammar, boosts
        )
        _link_children(beam, size, tree, children, False)
        chosen = choose_rows(next_beam[:found], options, grammar.words, closed)
        if not len(chosen):
            return t, beam, size, tree, nodes, no_rows, no_scores
        for slot in range(size):
            tree[beam[slot].row].slot = NONE
        size = len(chosen)
        if len(beam) < size:
            beam = np.empty(2 * size, dtype=PREFIX)
        tree = grow(tree, nodes, size)
        nodes = _keep_chosen(next_beam, chosen, beam, tree, nodes, frame + t)
    if not ends:
        return T, beam, size, tree, nodes, no_rows, no_scores
    rows, scores = _finish(beam, size, tree, options, grammar, boosts)
    return T, beam, size, tree, nodes, rows, scores


def start_beam(grammar: Grammar, boosts: Boosts) -> Records:
    """The empty prefix, in the first slot; before the first frame its one path ends in a blank."""
    beam = np.zeros(64, dtype=PREFIX)
    empty = beam[:1]
    empty["log_token"] = NEVER
    empty["lookahead"] = empty["rank"] = boosts.lookahead[boosts.start]
    empty["row"], empty["parent"], empty["last_token"] = ROW, NONE, BLANK_ID
    empty["lm_state"], empty["phrase_node"] = grammar.start, boosts.start
    return beam


def start_tree() -> Records:
    """The empty prefix, in the first row and slot."""
    tree = np.zeros(256, dtype=NODE)
    for link in ("parent", "first_child", "next_sibling"):
        tree[link] = NONE
    return tree


@compiled
def _look_back(
    beam: Records,
    size: int,
    tree: Records,
    marks: NDArray[np.int32],
    frame: int,
    words: NDArray[np.int32],
    closed: bool,
) -> int:
    """Note what all prefixes share by now; where they differ in what is too old, keep those that
    agree with the best. Returns how many there are."""
    common, oldest = what_is_shared(beam, size, tree, frame)
    while frame - oldest > MAX_OPEN:
        rivals = beam[:size].copy()
        kept = keep_branch(rivals, size, tree, common)
        if closed and not any_complete(rivals[:kept], words):
            break  # the utterance could not end
        for slot in range(size):
            tree[beam[slot].row].slot = NONE
        size = kept
        for slot in range(size):
            beam[slot] = rivals[slot]
            tree[beam[slot].row].slot = slot
        common, oldest = what_is_shared(beam, size, tree, frame)
    note_shared(marks, common)
    return size


@compiled
def compact(
    beam: Records, size: int, tree: Records, marks: NDArray[np.int32], root: int
) -> tuple[Records, int]:
    """The tree without what no prefix of the beam begins with, and the number of its rows; ``root``
    is its new first row."""
    numbers = renumbered(beam, size, tree, marks, root)
    smaller = np.empty(256 + 2 * (numbers >= 0).sum(), dtype=NODE)
    nodes = 0
    for row in range(root, len(tree)):
        if numbers[row] == NONE:
            continue
        smaller[nodes] = tree[row]
        node = smaller[nodes]
        node.first_child, node.next_sibling, node.parent = NONE, NONE, NONE
        if nodes > 0:
            node.parent = numbers[tree[row].parent]
            node.next_sibling = smaller[node.parent].first_child
            smaller[node.parent].first_child = nodes
        nodes += 1
    for slot in range(size):
        beam[slot].row = numbers[beam[slot].row]
    return smaller, nodes


@inlined
def _keep_chosen(
    next_beam: Records,
    chosen: NDArray[np.int32],
    beam: Records,
    tree: Records,
    nodes: int,
    frame: int,
) -> int:
    """Put the ``chosen (K,)`` rows into the beam, new ones into the tree; returns its size."""
    for slot in range(len(chosen)):
        beam[slot] = next_beam[chosen[slot]]
        prefix = beam[slot]
        if prefix.row == NONE:
            prefix.row = _find_node(tree, nodes, prefix.parent, prefix.last_token, frame)
            nodes = max(nodes, prefix.row + 1)
        tree[prefix.row].slot = slot
    return nodes


@inlined
def _find_node(tree: Records, nodes: int, parent: int, token: int, frame: int) -> int:
    """The row of ``parent`` with ``token``; a new one at the end if there is none.

    A prefix that was in the beam, left it and comes again has its row already.
    """
    row = tree[parent].first_child
    while row >= 0 and tree[row].token != token:
        row = tree[row].next_sibling
    if row >= 0:
        return int(row)
    node = tree[nodes]
    node.parent, node.token, node.slot, node.frame = parent, token, NONE, frame
    node.first_child, node.next_sibling = NONE, tree[parent].first_child
    tree[parent].first_child = nodes
    return nodes


@inlined
def _link_children(
    beam: Records,
    size: int,
    tree: Records,
    children: NDArray[np.int32],
    linked: bool,
) -> None:
    """Fill in, or clear, where in the beam each prefix is found from its parent.

    ``children (K, V)`` has slots, by the parent's slot and the child's last token.
    """
    for slot in range(size):
        parent = tree[beam[slot].row].parent
        if parent >= 0 and tree[parent].slot >= 0:
            children[tree[parent].slot, beam[slot].last_token] = slot if linked else NONE


@inlined
def _extend_all(
    frame: NDArray[np.float64],
    likely: NDArray[np.int32],
    beam: Records,
    size: int,
    children: NDArray[np.int32],
    next_beam: Records,
    options: Options,
    grammar: Grammar,
    boosts: Boosts,
) -> int:
    """Fill in all prefixes one frame later: those of the beam in the rows of their slots, then new
    ones; returns how many. The equations are at the top of this file.

    New ones are left out where the old ones alone, or the best one so far, are enough to drop them.
    """
    best, least = stay(beam, size, next_beam, frame[BLANK_ID])
    if size < options.beam_width:
        least = NEVER  # there is room for all
    # No token adds more than this to what is not acoustic, with what is owed for a separator.
    most = boosts.most + 2 * max(0.0, options.token_score) + max(0.0, options.word_score)
    knows = grammar.lm_units != NO_LM or grammar.has_lexicon or boosts.any
    count = size
    for slot in range(size):
        prefix = beam[slot]
        last = prefix.last_token
        starts_word = last == options.separator or last == BLANK_ID
        hope = prefix.lm_score + prefix.bonus + most
        for k in likely:
            if starts_word and k == options.separator:
                stays = next_beam[slot]
                stays.log_token = add_logs(stays.log_token, prefix.log_total + frame[k])
                continue
            log_said = prefix.log_total + frame[k]  # of the paths that now say k anew
            if k == last:
                stays = next_beam[slot]
                stays.log_token = add_logs(stays.log_token, prefix.log_token + frame[k])
                log_said = prefix.log_blank + frame[k]
            child = children[slot, k]
            if child >= 0:  # the longer prefix is in the beam as well: paths meet there
                meets = next_beam[child]
                meets.log_token = add_logs(meets.log_token, log_said)
                continue
            bar = max(least, best - options.beam_threshold)
            if log_said + hope < bar or log_said == NEVER:
                continue
            # Made in the next free row, which is taken only where the prefix comes over the bar.
            # In a function of its own this part makes the whole search half as fast.
            new = next_beam[count]
            new.lm_score, new.bonus, new.lookahead = prefix.lm_score, prefix.bonus, 0.0
            if k == options.separator:
                new.lookahead = options.token_score  # owed
            else:
                new.bonus += options.token_score
                if starts_word or options.starts[k]:
                    new.bonus += options.word_score
                    if last == options.separator:
                        new.bonus += options.token_score
            new.lm_state, new.lexicon_node = prefix.lm_state, prefix.lexicon_node
            new.phrase_node = prefix.phrase_node
            if knows and not score_token(new, k, last, options, grammar, boosts):
                continue
            rank = log_said + new.lm_score + new.bonus + new.lookahead
            if rank >= bar:
                best = max(best, rank)
                new.log_blank, new.log_token, new.log_total = NEVER, log_said, log_said
                new.row, new.parent, new.last_token, new.rank = NONE, prefix.row, k, rank
                count += 1
    for slot in range(size):
        stays = next_beam[slot]
        stays.log_total = add_logs(stays.log_blank, stays.log_token)
        stays.rank = stays.log_total + stays.lm_score + stays.bonus + stays.lookahead
    return count


@compiled
def _finish(
    beam: Records,
    size: int,
    tree: Records,
    options: Options,
    grammar: Grammar,
    boosts: Boosts,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Rows ``(k,)`` and scores ``(k, 3)`` of the texts that may end here, their last words and the
    end scored.
    """
    rows = np.empty(size, dtype=np.int32)
    scores = np.empty((size, 3))
    place = np.full(size, NONE, dtype=np.int32)  # where among the results that of a slot is
    count = 0
    # First the texts, then those with a separator at the end, which may be the same texts.
    for ended in (False, True):
        for slot in range(size):
            prefix = beam[slot]
            if (options.separator >= 0 and prefix.last_token == options.separator) != ended:
                continue
            row = prefix.row
            if ended:
                row = tree[row].parent
                same = place[tree[row].slot] if tree[row].slot >= 0 else NONE
                if same >= 0:
                    scores[same, 0] = add_logs(scores[same, 0], prefix.log_total)
                    continue
            elif not _end_text(prefix, options, grammar, boosts):
                continue
            if grammar.lm_units != NO_LM:
                log10, _ = step(grammar.trie, prefix.lm_state, grammar.end)
                prefix.lm_score += options.lm_weight * log10
            rows[count], place[slot] = row, count
            scores[count, 0] = prefix.log_total
            scores[count, 1], scores[count, 2] = prefix.lm_score, prefix.bonus
            count += 1
    return rows[:count], scores[:count]


@inlined
def _end_text(prefix: Any, options: Options, grammar: Grammar, boosts: Boosts) -> bool:
    """Score the last word as if a separator came after it. False: it may not be."""
    if prefix.last_token == BLANK_ID or options.separator < 0:
        return True  # there is none
    if boosts.any:
        node = follow_phrases(boosts, prefix.phrase_node, options.separator)
        prefix.bonus += boosts.gains[node]
    return end_word(prefix, options, grammar)
