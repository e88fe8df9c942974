"""What language model, lexicon and phrases say of a prefix, compiled.

All of it follows from the prefix alone, so it is worked out once, when the prefix is made. Whatever
is not used is given as arrays of one empty node, so that there is one set of types and one piece of
machine code.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, inlined
from asr.decoding.beam.tree import ROOT, Tree
from asr.lm.trie import Trie, step
from asr.tokens import BLANK_ID

__all__ = [
    "NOT_A_WORD",
    "NO_LM",
    "TOKEN_LM",
    "WORD_LM",
    "Boosts",
    "Grammar",
    "Options",
    "WordBoosts",
    "end_word",
    "find_child",
    "follow_phrases",
    "link_phrases",
    "score_token",
]

NO_LM, TOKEN_LM, WORD_LM = 0, 1, 2
OUTSIDE = -1  # the word has begun as none of the lexicon's does
NOT_A_WORD = -1


class Options(NamedTuple):
    """What :class:`asr.decoding.config.BeamOptions` say, ready for compiled code.

    ``lm_weight`` turns the model's log10 into weighted natural logarithms. ``separator`` is the
    token between words, -1 where there is none.
    """

    beam_width: int
    token_min_log_prob: float
    beam_threshold: float
    separator: int
    lm_weight: float
    word_score: float
    token_score: float
    unk_score: float  # minus infinity: words outside the lexicon are refused
    starts: NDArray[np.bool_]  # (V,), the tokens that begin a word by themselves: subwords
    marked: bool  # whether there are any, so that a text too begins as if after a separator


class Grammar(NamedTuple):
    """Language model and lexicon.

    Attributes:
        lm_units: NO_LM, TOKEN_LM or WORD_LM.
        trie: the model; start, end, unknown: its state at the beginning, and words.
        token_words: ``(V,)`` int32, each token as the model's word, for TOKEN_LM.
        has_lexicon: whether words are looked up in ``tree``.
        words: ``(M,)`` int32, the model's word that is spelled from the root to each node, or
            NOT_A_WORD.
        lookahead: ``(M,)`` float64, log10 of the highest 1-gram probability at or below each node.
        unknown_lookahead: log10 of the 1-gram probability of unknown words.
    """

    lm_units: int
    trie: Trie
    start: int
    end: int
    unknown: int
    token_words: NDArray[np.int32]
    has_lexicon: bool
    tree: Tree
    words: NDArray[np.int32]
    lookahead: NDArray[np.float64]
    unknown_lookahead: float


class Boosts(NamedTuple):
    """Phrases as an Aho-Corasick automaton (1975).

    Attributes:
        tree: the phrases' tokens; of whole words where words are separated.
        links: ``(M,)`` int32, the node of the longest end of a node that the tree has.
        gains: ``(M,)`` float64, what the phrases that end here earn.
        lookahead: ``(M,)`` float64, what the phrases begun here have earned if they come to their
            ends.
        start: the node at the beginning of an utterance.
        most: the highest of ``gains`` and of ``lookahead`` together.
        any: whether there are any.
    """

    tree: Tree
    links: NDArray[np.int32]
    gains: NDArray[np.float64]
    lookahead: NDArray[np.float64]
    start: int
    most: float
    any: bool


class WordBoosts(NamedTuple):
    """Phrases of words by number, and of what begins one in the lexicon's tree of tokens.

    Attributes:
        phrases: the automaton over words.
        begins: ``(S + 1,)`` int32; ``nodes[begins[s]:begins[s + 1]]`` are of the state s.
        nodes: int32, nodes of the lexicon's tree, sorted, in which a word begun may go on a phrase.
        earned: float64, what that phrase has earned there if it comes to its end.
        most: the highest that a token may add.
    """

    phrases: Boosts
    begins: NDArray[np.int32]
    nodes: NDArray[np.int32]
    earned: NDArray[np.float64]
    most: float


@inlined
def score_token(
    prefix: Any,
    k: int,
    last: int,
    options: Options,
    grammar: Grammar,
    boosts: Boosts,
) -> bool:
    """Let ``prefix``, a copy of the record that token ``k`` extends, say what follows from ``k``.

    ``last`` is the token before; separators do not follow each other, nor begin a text. A token
    that begins a word by itself ends the one before it, as a separator does. False: the lexicon
    refuses ``k``, and the record is of no use.
    """
    if grammar.lm_units == TOKEN_LM:
        if k == options.separator:  # scored when a word follows: none stands at a text's end
            log10, _ = step(grammar.trie, prefix.lm_state, grammar.token_words[k])
            prefix.lookahead += options.lm_weight * log10
        else:
            after_gap = last == options.separator or (options.marked and last == BLANK_ID)
            if after_gap and not options.starts[k]:
                log10, prefix.lm_state = step(
                    grammar.trie, prefix.lm_state, grammar.token_words[options.separator]
                )
                prefix.lm_score += options.lm_weight * log10
            log10, prefix.lm_state = step(grammar.trie, prefix.lm_state, grammar.token_words[k])
            prefix.lm_score += options.lm_weight * log10
    begins = options.starts[k] and last != options.separator and last != BLANK_ID
    # A word of the lexicon, or of the language model, is known only where it ends.
    if (k == options.separator or begins) and not end_word(prefix, options, grammar):
        return False
    if k != options.separator and grammar.has_lexicon:
        if prefix.lexicon_node != OUTSIDE:
            prefix.lexicon_node = find_child(grammar.tree, prefix.lexicon_node, k)
        if prefix.lexicon_node == OUTSIDE and options.unk_score == -math.inf:
            return False
        prefix.lookahead += _look_ahead(prefix.lexicon_node, options, grammar)
    if boosts.any:
        if begins:  # the end of a word before, which may end a phrase
            prefix.phrase_node = follow_phrases(boosts, prefix.phrase_node, options.separator)
            prefix.bonus += boosts.gains[prefix.phrase_node]
        prefix.phrase_node = follow_phrases(boosts, prefix.phrase_node, k)
        prefix.bonus += boosts.gains[prefix.phrase_node]
        prefix.lookahead += boosts.lookahead[prefix.phrase_node]
    return True


@inlined
def end_word(prefix: Any, options: Options, grammar: Grammar) -> bool:
    """Score the word that ends in ``prefix``, and go back to the lexicon's root.

    False: the lexicon has no such word, and others are refused.
    """
    word = NOT_A_WORD
    if grammar.has_lexicon:
        if prefix.lexicon_node != OUTSIDE:
            word = grammar.words[prefix.lexicon_node]
        if word == NOT_A_WORD:
            if options.unk_score == -math.inf:
                return False
            word = grammar.unknown
            prefix.bonus += options.unk_score
    if grammar.lm_units == WORD_LM:
        log10, prefix.lm_state = step(grammar.trie, prefix.lm_state, word)
        prefix.lm_score += options.lm_weight * log10
    prefix.lexicon_node = ROOT
    return True


@inlined
def follow_phrases(boosts: Boosts, node: int, k: int) -> int:
    """The automaton's node after ``k``: the longest end of what was said that begins a phrase."""
    found = find_child(boosts.tree, node, k)
    while found < 0 and node != ROOT:
        node = boosts.links[node]
        found = find_child(boosts.tree, node, k)
    return max(found, ROOT)


@compiled
def link_phrases(
    boosts: Boosts, weights: NDArray[np.float64], lengths: NDArray[np.float64]
) -> None:
    """Fill in ``links`` and ``lookahead``, and add to ``gains`` those of shorter phrases.

    ``weights (M,)`` are the highest of the phrases that end in each node, ``lengths (M,)`` how many
    tokens count until there.
    """
    tree, links, lookahead = boosts.tree, boosts.links, boosts.lookahead
    # Nodes are numbered by depth. From the leaves up: the highest weight that is still to come.
    best_below = np.zeros(len(links))  # (M,)
    for node in range(len(links) - 1, -1, -1):
        for child in range(tree.children[node], tree.children[node + 1]):
            best_below[node] = max(best_below[node], best_below[child], weights[child])
    # From the root down: a node's link is the child, by the same token, of the nearest of its
    # parent's links that has one. Links lead to shorter ends, so those are there before they are
    # needed, with all that shorter phrases earn.
    links[ROOT] = ROOT
    for parent in range(len(links)):
        for node in range(tree.children[parent], tree.children[parent + 1]):
            link, shorter = ROOT, parent
            while shorter != ROOT and link == ROOT:
                shorter = links[shorter]
                link = max(find_child(tree, shorter, tree.tokens[node]), ROOT)
            links[node] = link
            boosts.gains[node] += boosts.gains[link]
            lookahead[node] = max(best_below[node] * lengths[node], lookahead[link])


@inlined
def _look_ahead(node: int, options: Options, grammar: Grammar) -> float:
    """What the word begun will add at best: without it, words that have just begun would have an
    edge over words that have ended. (LM look-ahead; Ortmanns et al. 1996.)
    """
    unknown = options.lm_weight * grammar.unknown_lookahead + options.unk_score
    if node == OUTSIDE:
        return unknown
    known: float = options.lm_weight * grammar.lookahead[node]
    return max(unknown, known)


@inlined
def find_child(tree: Tree, node: int, token: int) -> int:
    """The child of that token, or -1: children stand side by side, sorted by token."""
    low: int = tree.children[node]
    high: int = tree.children[node + 1]
    while low < high:
        middle = (low + high) >> 1
        found = tree.tokens[middle]
        if found == token:
            return middle
        if found < token:
            low = middle + 1
        else:
            high = middle
    return -1
