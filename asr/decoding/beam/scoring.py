"""What language model, lexicon and phrases say of a prefix, compiled.

All of it follows from the prefix alone, so it is worked out once, when the prefix is made. Whatever
is not used is given as arrays of one empty node, so that there is one set of types and one piece of
machine code.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, inlined
from asr.decoding.beam.tree import ROOT, Tree
from asr.lm.trie import Trie, step

__all__ = [
    "NOT_A_WORD",
    "NO_LM",
    "TOKEN_LM",
    "WORD_LM",
    "Boosts",
    "Grammar",
    "Options",
    "Prefixes",
    "end_word",
    "extend",
    "follow",
    "link_tree",
]

NO_LM, TOKEN_LM, WORD_LM = 0, 1, 2
OUTSIDE = -1  # the word has begun as none of the lexicon's does
NOT_A_WORD = -1

# Columns of the table of a beam's numbers, and of that of its places.
BLANK, TOKEN, WHOLE, LM, BONUS, AHEAD = range(6)
NUMBER, LAST, LM_STATE, NODE, PHRASE = range(5)


class Prefixes(NamedTuple):
    """Prefixes by row.

    Attributes:
        numbers: ``(n, 6)`` float64: log-probability of the paths that end in a blank, of those that
            end in the last token, and of both; the language model's score, the bonus, and what of
            either is still to come at best.
        places: ``(n, 5)`` int32: the prefix's number, its last token (the blank for the empty
            one), the language model's state, and nodes of lexicon and phrases.
        parents: ``(n,)`` int32: for prefixes without a number, that of the one that they extend.
        ranks: ``(n,)`` float64: the sum of all that counts.
    """

    numbers: NDArray[np.float64]
    places: NDArray[np.int32]
    parents: NDArray[np.int32]
    ranks: NDArray[np.float64]


class Options(NamedTuple):
    """What :class:`asr.decoding.config.DecoderConfig` says, ready for compiled code.

    ``lm_weight`` turns the model's log10 into weighted natural logarithms. ``separator`` is the
    token between words, -1 where there is none.
    """

    beam_width: int
    token_min_log_prob: float
    beam_threshold: float
    separator: int
    lm_weight: float
    word_bonus: float
    token_bonus: float
    unknown_penalty: float  # infinite: words outside of the lexicon are refused


class Grammar(NamedTuple):
    """Language model and lexicon.

    Attributes:
        lm_units: NO_LM, TOKEN_LM or WORD_LM.
        trie: the model; start, end, unknown: its state at the beginning, and words.
        token_words: ``(V,)`` int32, each token as the model's word, for TOKEN_LM.
        has_lexicon: whether words are looked up in ``tree``.
        words: ``(M,)`` int32, the model's word that is spelled from the root to each node, or
            NOT_A_WORD.
        ahead: ``(M,)`` float64, log10 of the highest 1-gram probability at or below each node.
        unknown_ahead: log10 of the 1-gram probability of unknown words.
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
    ahead: NDArray[np.float64]
    unknown_ahead: float


class Boosts(NamedTuple):
    """Phrases as an Aho-Corasick automaton (1975).

    Attributes:
        tree: the phrases' tokens; of whole words where words are separated.
        links: ``(M,)`` int32, the node of the longest end of a node that the tree has.
        gains: ``(M,)`` float64, what the phrases that end here earn.
        ahead: ``(M,)`` float64, what the phrases begun here have earned if they come to their ends.
        start: the node at the beginning of an utterance.
        most: the highest of ``gains`` and of ``ahead`` together.
        some: whether there are any.
    """

    tree: Tree
    links: NDArray[np.int32]
    gains: NDArray[np.float64]
    ahead: NDArray[np.float64]
    start: int
    most: float
    some: bool


@inlined
def extend(
    k: int,
    fresh: bool,
    lm: float,
    bonus: float,
    state: int,
    node: int,
    phrase: int,
    options: Options,
    grammar: Grammar,
    boosts: Boosts,
) -> tuple[bool, float, float, float, int, int, int]:
    """What follows from adding token ``k`` to a prefix, ``fresh`` if no word of it has begun:
    whether it may be, the language model's score, the bonus, what is still to come, the model's
    state, and nodes of lexicon and phrases.
    """
    ahead = 0.0
    if grammar.lm_units == TOKEN_LM:
        log10, state = step(grammar.trie, state, grammar.token_words[k])
        lm += options.lm_weight * log10
    if k == options.separator:
        if not fresh:
            allowed, log10, more, state = end_word(node, state, options, grammar)
            if not allowed:
                return False, lm, bonus, ahead, state, node, phrase
            lm += options.lm_weight * log10
            bonus += more
            node = ROOT
    elif grammar.has_lexicon:
        node = _child(grammar.tree, node, k) if node != OUTSIDE else OUTSIDE
        if node == OUTSIDE and options.unknown_penalty == math.inf:
            return False, lm, bonus, ahead, state, node, phrase
        ahead = _ahead(node, options, grammar)
    if boosts.some:
        if not (fresh and k == options.separator):  # spaces are as good as one
            phrase = follow(boosts, phrase, k)
            bonus += boosts.gains[phrase]
        ahead += boosts.ahead[phrase]
    return True, lm, bonus, ahead, state, node, phrase


@inlined
def end_word(
    node: int, state: int, options: Options, grammar: Grammar
) -> tuple[bool, float, float, int]:
    """The word that ends in ``node``: whether it may, log10 of its probability, what it adds to the
    bonus, and the model's state after it.
    """
    word, more = NOT_A_WORD, 0.0
    if grammar.has_lexicon:
        if node != OUTSIDE:
            word = grammar.words[node]
        if word == NOT_A_WORD:
            if options.unknown_penalty == math.inf:
                return False, 0.0, 0.0, state
            word, more = grammar.unknown, -options.unknown_penalty
    log10 = 0.0
    if grammar.lm_units == WORD_LM:
        log10, state = step(grammar.trie, state, word)
    return True, log10, more, state


@inlined
def follow(boosts: Boosts, node: int, k: int) -> int:
    """The automaton's node after ``k``."""
    found = _child(boosts.tree, node, k)
    while found < 0 and node != ROOT:
        node = boosts.links[node]
        found = _child(boosts.tree, node, k)
    return max(found, ROOT)


@compiled
def link_tree(boosts: Boosts, weights: NDArray[np.float64], edge: int) -> None:
    """Fill in ``links`` and ``ahead``, and add to ``gains`` those of shorter phrases.

    ``weights (M,)`` are the highest of the phrases that end in each node; ``edge`` tokens at the
    beginning count for nothing.
    """
    tree, links, ahead = boosts.tree, boosts.links, boosts.ahead
    below = np.zeros(len(links))  # the highest weight that is still to come
    for node in range(len(links) - 1, -1, -1):
        for child in range(tree.children[node], tree.children[node + 1]):
            below[node] = max(below[node], below[child], weights[child])
    depth = np.zeros(len(links))
    links[ROOT] = ROOT
    for parent in range(len(links)):  # by depth: shorter ones first, which longer ones follow
        for node in range(tree.children[parent], tree.children[parent + 1]):
            depth[node] = depth[parent] + 1
            link, above = ROOT, parent
            while above != ROOT and link == ROOT:
                above = links[above]
                link = max(_child(tree, above, tree.tokens[node]), ROOT)
            links[node] = link
            boosts.gains[node] += boosts.gains[link]
            ahead[node] = max(below[node] * max(depth[node] - edge, 0.0), ahead[link])


@inlined
def _ahead(node: int, options: Options, grammar: Grammar) -> float:
    """What the word begun will add at best: without it, words that have just begun would have an
    edge over words that have ended. (LM look-ahead; Ortmanns et al. 1996.)
    """
    unknown = options.lm_weight * grammar.unknown_ahead - options.unknown_penalty
    if node == OUTSIDE:
        return unknown
    known: float = options.lm_weight * grammar.ahead[node]
    return max(unknown, known)


@inlined
def _child(tree: Tree, node: int, token: int) -> int:
    """The child of that token, or -1."""
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
