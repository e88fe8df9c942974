"""A lexicon's pronunciations and a language model of its words, ready for compiled search.

The lexicon is a tree of tokens whose nodes say which words end there: several, where words are said
alike. A word that is said in several ways ends in several nodes. Behind the tree's M nodes come
those of what is no known word: J for the silences, and V for the last token of an unknown word.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.tree import ROOT, Tree, build_tree, highest_below
from asr.decoding.lexicon import Lexicon
from asr.lm.model import LanguageModel
from asr.lm.trie import Trie
from asr.tokens import Tokenizer

__all__ = ["NO_TRIE", "SURPRISE", "WordGrammar", "build_words", "without_model"]

NO_WORD = -1
SURPRISE = 2.0  # log10 of how much more probable than alone a word is expected to be after others
NO_TRIE = Trie(
    words=np.full(1, -1, dtype=np.int32),
    log_probs=np.zeros(1, dtype=np.float32),
    links=np.zeros(1, dtype=np.int32),
    backoffs=np.zeros(1, dtype=np.float32),
    children=np.ones(2, dtype=np.int32),
)


class WordGrammar(NamedTuple):
    """Lexicon and language model.

    Attributes:
        tree: the pronunciations; M nodes.
        first: ``(V,)`` int32, the root's child by token; -1 where no word begins so.
        begins: ``(M + 1,)`` int32; the words that end in node s are ``words[begins[s]:begins[s +
            1]]``.
        words: int32, by number.
        complete: ``(M + J + V,)`` int32, at least 0 where a text may end in a node, else -1.
        below: ``(M,)`` float64, log10 of the highest 1-gram probability of words that end below a
            node, minus infinity where none do.
        upper: ``(M,)`` float64, log10 of what words that end in a node or below are taken to have
            at most after any others, which spares asking the language model.
        lm_words: int32, ``words`` as the language model's.
        unknown, lm_unknown: the number of unknown words, after all others, here and in the model.
        has_lm: whether there is a language model.
        trie: the model; start, end: its state at the beginning, and its mark of the end.
        silence_of: ``(V,)`` int32, which of J silences each token is, or -1. All are one, unless a
            word begins with one: then the token before it matters.
        silences: ``(J,)`` int32, tokens; -1 for one that is several.
        begins_quiet: whether silences at the beginning are one with what comes before them.
        unknown_token: the log-probability of each token of an unknown word.
        separated: whether a silence has to stand between two words.
    """

    tree: Tree
    first: NDArray[np.int32]
    begins: NDArray[np.int32]
    words: NDArray[np.int32]
    complete: NDArray[np.int32]
    below: NDArray[np.float64]
    upper: NDArray[np.float64]
    lm_words: NDArray[np.int32]
    unknown: int
    lm_unknown: int
    has_lm: bool
    trie: Trie
    start: int
    end: int
    silence_of: NDArray[np.int32]
    silences: NDArray[np.int32]
    begins_quiet: bool
    unknown_token: float
    separated: bool


def build_words(lexicon: Lexicon, lm: LanguageModel | None, tokenizer: Tokenizer) -> WordGrammar:
    """``lexicon`` and ``lm`` for search; words are numbered as in the lexicon."""
    V = tokenizer.size
    numbers = {word: number for number, word in enumerate(lexicon.pronunciations)}
    ways = list(lexicon.ways())
    tree, ends = build_tree([way for _, way in ways])
    M = len(tree.tokens)
    begins, words = _words_of_nodes(ends, np.array([numbers[word] for word, _ in ways]), M)
    lm_words = np.zeros(len(words), dtype=np.int32)
    if lm is not None:
        lm_words = lm.ids(numbers)[words]
    first = np.full(V, -1, dtype=np.int32)
    children = np.arange(tree.children[ROOT], tree.children[ROOT + 1], dtype=np.int32)
    first[tree.tokens[children]] = children
    quiet = list(lexicon.between)
    alike = bool(quiet) and (first[quiet] < 0).all()
    silences = np.array([-1] if alike else quiet, dtype=np.int32)
    silence_of = np.full(V, -1, dtype=np.int32)
    silence_of[quiet] = 0 if alike else np.arange(len(quiet))
    complete = np.zeros(M + len(silences) + V, dtype=np.int32)
    complete[:M] = np.where(np.diff(begins) > 0, 0, NO_WORD)
    complete[ROOT] = 0
    below, upper = _look_aheads(tree, begins, lm, lm_words)
    return WordGrammar(
        tree=tree,
        first=first,
        begins=begins,
        words=words,
        complete=complete,
        below=below,
        upper=upper,
        lm_words=lm_words,
        unknown=len(numbers),
        lm_unknown=0 if lm is None else lm.unknown,
        has_lm=lm is not None,
        trie=NO_TRIE if lm is None else lm.trie,
        start=0 if lm is None else lm.start,
        end=0 if lm is None else lm.end,
        silence_of=silence_of,
        silences=silences,
        begins_quiet=bool(alike),
        unknown_token=-math.log(max(1, V - 1 - len(quiet))),
        separated=lexicon.separator is not None,
    )


def without_model(words: WordGrammar) -> WordGrammar:
    """The same lexicon without the language model."""
    nothing = np.zeros(len(words.below))
    return words._replace(has_lm=False, trie=NO_TRIE, start=0, below=nothing, upper=nothing)


def _words_of_nodes(
    ends: NDArray[np.int32], words: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """``begins`` and ``words`` of :class:`WordGrammar`, of words that end in the nodes ``ends``."""
    order = np.argsort(ends, kind="stable")
    begins = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=size))])
    return begins.astype(np.int32), words[order].astype(np.int32)


def _look_aheads(
    tree: Tree,
    begins: NDArray[np.int32],
    lm: LanguageModel | None,
    lm_words: NDArray[np.int32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``below`` and ``upper`` of :class:`WordGrammar`."""
    M = len(tree.tokens)
    if lm is None:
        return np.zeros(M), np.zeros(M)
    own = np.full(M, -math.inf)
    nodes = np.repeat(np.arange(M), np.diff(begins))
    np.maximum.at(own, nodes, lm.trie.log_probs[1 + lm_words].astype(np.float64))
    highest = highest_below(tree, own)
    below = np.full(M, -math.inf)
    parents = np.repeat(np.arange(M), np.diff(tree.children))
    np.maximum.at(below, parents, highest[1:])
    return below, np.minimum(0.0, np.maximum(below, own + SURPRISE))
