"""Phrases that one request expects, such as names: hypotheses that have them rank higher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.tree import ROOT, Tree, build_tree, depths, follow, highest_below
from asr.decoding.lexicon import Lexicon, spell
from asr.tokens import Tokenizer
from asr.types import DecodingError, TokenError

if TYPE_CHECKING:
    from asr.decoding.beam.scoring import Boosts, WordBoosts

__all__ = ["DEFAULT_WEIGHT", "MAX_PHRASE_TOKENS", "Phrase", "build_boosts", "build_word_boosts"]

DEFAULT_WEIGHT = 1.5
MAX_WEIGHT = 100.0
MAX_PHRASE_TOKENS = 100_000  # of all phrases of a request


@dataclass(frozen=True)
class Phrase:
    """A word, or some in sequence, that may be said.

    Attributes:
        text: as the model spells it. Where the vocabulary separates words, only whole words match;
            runs of white space count as one space.
        weight: what each occurrence adds to the score for each of its tokens, natural logarithm;
            below zero, the phrase is avoided. A space counts as a token, between subwords too. Of
            a phrase that is given twice, the weights add up.
    """

    text: str
    weight: float = DEFAULT_WEIGHT

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.split():
            raise DecodingError(f"the phrase {self.text!r} is empty", remedy="give it some text")
        number = isinstance(self.weight, (int, float)) and not isinstance(self.weight, bool)
        if not number or not -MAX_WEIGHT <= self.weight <= MAX_WEIGHT:
            raise DecodingError(
                f"the weight of the phrase {self.text!r} is {self.weight!r}",
                remedy=f"give a number from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}",
            )


def build_boosts(phrases: Sequence[Phrase], tokenizer: Tokenizer) -> Boosts:
    """The automaton that finds ``phrases``.

    Raises:
        DecodingError: a phrase has symbols outside the vocabulary, or they are too many.
    """
    from asr.decoding.beam.scoring import follow_phrases

    separator = tokenizer.word_separator
    edge = () if separator is None else (separator,)
    spelled = [_spell(phrase, tokenizer) for phrase in phrases]
    boosts, _ = _automaton(
        phrases,
        [(*edge, *labels, *edge) for labels in spelled],
        list(map(len, spelled)),
        lambda tree: np.maximum(depths(tree) - len(edge), 0.0),
    )
    start = ROOT if separator is None else int(follow_phrases(boosts, ROOT, separator))
    # A subword may end one phrase as a separator before it would, and another as itself.
    at_once = 2 if tokenizer.kind == "subwords" else 1
    most = float(at_once * boosts.gains.max(initial=0.0) + boosts.lookahead.max(initial=0.0))
    return boosts._replace(start=start, most=most)


def build_word_boosts(phrases: Sequence[Phrase], lexicon: Lexicon, tree: Tree) -> WordBoosts:
    """The automaton that finds ``phrases`` among words numbered as in ``lexicon``.

    ``tree`` has the pronunciations. A phrase has as many tokens as its words' first pronunciations,
    and the separators between them.

    Raises:
        DecodingError: a word of a phrase is not in the lexicon, or they are too many.
    """
    from asr.decoding.beam.scoring import WordBoosts

    ways = list(lexicon.pronunciations.values())
    gap = 0 if lexicon.separator is None else 1
    spelled = _numbered(phrases, lexicon)

    def lengths(tree: Tree) -> NDArray[np.float64]:
        tokens = np.zeros(len(tree.tokens))
        for node, parent in enumerate(_parents(tree), start=1):
            joined = gap if parent != ROOT else 0
            tokens[node] = tokens[parent] + joined + len(ways[tree.tokens[node]][0])
        return tokens

    counts = [sum(len(ways[w][0]) for w in words) + gap * (len(words) - 1) for words in spelled]
    boosts, weights = _automaton(phrases, spelled, counts, lengths)
    best = highest_below(boosts.tree, weights)
    found: dict[tuple[int, int], float] = {}
    counted = lengths(boosts.tree)
    for state, parent in enumerate(_parents(boosts.tree), start=1):
        said = ways[boosts.tree.tokens[state]]
        for way in said:
            for n, node in enumerate(follow(tree, way), start=1):
                count = counted[state] - max(0, len(said[0]) - n)
                found[parent, node] = max(found.get((parent, node), 0.0), best[state] * count)
    pairs = sorted(found)
    earned = np.array([found[pair] for pair in pairs])
    fan = np.bincount(
        np.array([state for state, _ in pairs], dtype=np.int64), minlength=len(counted)
    )
    ahead = max(boosts.lookahead.max(initial=0.0), earned.max(initial=0.0))
    return WordBoosts(
        phrases=boosts,
        begins=np.concatenate([[0], np.cumsum(fan)]).astype(np.int32),
        nodes=np.array([node for _, node in pairs], dtype=np.int32),
        earned=earned,
        most=float(boosts.gains.max(initial=0.0) + ahead),
    )


def _numbered(phrases: Sequence[Phrase], lexicon: Lexicon) -> list[tuple[int, ...]]:
    if not phrases:
        return []  # the lexicon may be large
    numbers = {word: number for number, word in enumerate(lexicon.pronunciations)}
    for phrase in phrases:
        for word in phrase.text.split():
            if word not in numbers:
                raise DecodingError(
                    f"the word {word!r} of the phrase {phrase.text!r} is not in the lexicon",
                    remedy="give the lexicon the word and how it is said",
                )
    return [tuple(numbers[word] for word in phrase.text.split()) for phrase in phrases]


def _automaton(
    phrases: Sequence[Phrase],
    spelled: Sequence[tuple[int, ...]],
    counts: Sequence[int],
    lengths: Callable[[Tree], NDArray[np.float64]],
) -> tuple[Boosts, NDArray[np.float64]]:
    """The automaton of ``phrases`` as they are ``spelled``, each with so many tokens that count.

    ``lengths`` gives how many count until each node of the tree. The second value has, by node, the
    highest weight of the phrases that end there.
    """
    from asr.decoding.beam.scoring import Boosts, link_phrases

    if sum(counts) > MAX_PHRASE_TOKENS:
        raise DecodingError(
            "the phrases are too long together", remedy=f"give {MAX_PHRASE_TOKENS} tokens at most"
        )
    tree, ends = build_tree(spelled)
    boosts = Boosts(
        tree=tree,
        links=np.zeros(len(tree.tokens), dtype=np.int32),
        gains=np.zeros(len(tree.tokens)),
        lookahead=np.zeros(len(tree.tokens)),
        start=ROOT,
        most=0.0,
        any=bool(phrases),
    )
    weights = np.zeros(len(tree.tokens))
    for phrase, count, node in zip(phrases, counts, ends.tolist(), strict=True):
        boosts.gains[node] += phrase.weight * count
        weights[node] = max(weights[node], phrase.weight)
    link_phrases(boosts, weights, lengths(tree))
    return boosts, weights


def _parents(tree: Tree) -> list[int]:
    """Of all nodes but the root."""
    return np.repeat(np.arange(len(tree.tokens)), np.diff(tree.children)).tolist()


def _spell(phrase: Phrase, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens of a phrase, with separators between its words though subwords go without."""
    words, separator = phrase.text.split(), tokenizer.word_separator
    try:
        if tokenizer.kind != "subwords" or separator is None:
            return tuple(tokenizer.encode(" ".join(words)))
        return tuple(k for word in words for k in (separator, *spell(word, tokenizer)))[1:]
    except TokenError as error:
        raise DecodingError(
            f"the phrase {phrase.text!r} has {error.what}",
            remedy="spell it as the model does",
        ) from None
