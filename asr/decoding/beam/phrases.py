"""Phrases that one request expects, such as names: hypotheses that have them rank higher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from asr.decoding.beam.tree import ROOT, build_tree
from asr.decoding.lexicon import spell
from asr.tokens import Tokenizer
from asr.types import DecodingError, TokenError

if TYPE_CHECKING:
    from asr.decoding.beam.scoring import Boosts

__all__ = ["DEFAULT_WEIGHT", "MAX_PHRASE_TOKENS", "Phrase", "build_boosts"]

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
            below zero, the phrase is avoided. A space counts as a token, between subwords too.
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
    from asr.decoding.beam.scoring import Boosts, follow_phrases, link_phrases

    separator = tokenizer.word_separator
    edge = () if separator is None else (separator,)
    spelled = [_spell(phrase, tokenizer) for phrase in phrases]
    if sum(map(len, spelled)) > MAX_PHRASE_TOKENS:
        raise DecodingError(
            "the phrases are too long together", remedy=f"give {MAX_PHRASE_TOKENS} tokens at most"
        )
    tree, ends = build_tree([(*edge, *labels, *edge) for labels in spelled])
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
    for phrase, labels, node in zip(phrases, spelled, ends.tolist(), strict=True):
        boosts.gains[node] += phrase.weight * len(labels)
        weights[node] = max(weights[node], phrase.weight)
    link_phrases(boosts, weights, len(edge))
    start = ROOT if separator is None else int(follow_phrases(boosts, ROOT, separator))
    # A subword may end one phrase as a separator before it would, and another as itself.
    at_once = 2 if tokenizer.kind == "subwords" else 1
    most = float(at_once * boosts.gains.max(initial=0.0) + boosts.lookahead.max(initial=0.0))
    return boosts._replace(start=start, most=most)


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
