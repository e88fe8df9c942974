"""What hypotheses are compared in: words, or the phones of a model of phones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lhotse.cut import Cut

from asr.decoding import BeamOptions, DecoderOptions, WfstOptions
from asr.recognizer import Recognizer
from asr.types import ConfigError
from recipes.common.evaluate.scored import Scoring, pronunciation
from recipes.common.metric import PER
from recipes.common.recipe import Recipe

__all__ = ["choose_scoring"]

PHONES = "phones"


def choose_scoring(
    recipe: Recipe,
    recognizer: Recognizer,
    decoder: DecoderOptions,
    splits: Mapping[str, Sequence[Cut]],
) -> Scoring:
    """How to compare what ``recognizer`` writes with the references of ``splits``.

    A model of phones whose decoder has a lexicon writes words, and is scored in words; else it is
    scored in phones, if the references are known in phones.

    Raises:
        ConfigError: they are not, or the corpus knows phones alone.
    """
    kind = recognizer.tokenizer.kind
    if recipe.token_kind == PHONES:  # the texts of the corpus are phones
        if kind != PHONES:
            raise ConfigError(
                f"the texts of {recipe.title} are phones, and the model writes {kind}",
                remedy="evaluate it on another corpus",
            )
        return Scoring(recipe.metric, kind, PHONES)
    if kind != PHONES:
        return Scoring(recipe.metric, kind)
    if _says_words(recognizer, decoder):
        return Scoring(recipe.metric, kind, "words")
    for name, cuts in splits.items():
        if any(pronunciation(cut) is None for cut in cuts):
            raise ConfigError(
                f"the model writes phones, and the phones of {name} are not known",
                remedy="give --lexicon to score words, or run `prepare --units phones`",
            )
    return Scoring(PER, kind, PHONES, pronounced=True)


def _says_words(recognizer: Recognizer, decoder: DecoderOptions) -> bool:
    """Whether a model of phones is decoded into words."""
    language = recognizer.bundle.language
    if isinstance(decoder, BeamOptions):
        return language is not None and language.says_words
    return isinstance(decoder, WfstOptions)
