"""The texts of a corpus on their way to the model: in one form, counted, and made into units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from asr.tokens import BLANK, Tokenizer
from asr.types import CorpusError
from recipes.common.characters import (
    CHARACTERS_FILE,
    CharacterCount,
    count_characters,
    lacking,
    named,
    save_characters,
    summary,
)
from recipes.common.corpus import Corpus
from recipes.common.data import tokens_path
from recipes.common.dropped import (
    DROPPED_FILE,
    NOT_IN_TRAIN,
    Drop,
    find_lacking,
    normalised,
    save_dropped,
)
from recipes.common.manifests import Utterance
from recipes.common.normaliser import FILE as TEXT_FILE
from recipes.common.normaliser import TextOptions, save_text_options
from recipes.common.recipe import Recipe
from recipes.common.units.choice import Units, choose_units
from recipes.common.units.lexicon import GUESSED_FILE, LEXICON_FILE, save_lexicon
from recipes.common.units.options import UnitOptions

__all__ = ["FILES", "PreparedTexts", "prepare_texts"]

# What is written beside the manifests, or removed.
FILES = (TEXT_FILE, DROPPED_FILE, CHARACTERS_FILE, LEXICON_FILE, GUESSED_FILE)
TOKENS_SHOWN = 100
FEW = 10  # guessed words in a line


@dataclass(frozen=True)
class PreparedTexts:
    """Utterances in their final form and all that is told of them beside the manifests.

    Of a corpus whose texts are phones, ``characters`` are none.
    """

    options: TextOptions
    units: Units
    drops: Sequence[Drop]
    characters: Sequence[CharacterCount]

    @property
    def splits(self) -> Mapping[str, Sequence[Utterance]]:
        """The utterances by split."""
        return self.units.splits

    def save(self, data: Path) -> None:
        """Write the token list, the options, the lexicon and the lists; stale ones are removed.

        Raises:
            CorpusError: the disk refuses.
        """
        ways = self.units.lexicon.ways if self.units.lexicon else {}
        guessed = self.units.lexicon.guessed if self.units.lexicon else frozenset()
        try:
            save_text_options(data, self.options)
            save_dropped(data, self.drops)
            save_characters(data, self.characters, list(self.splits))
            save_lexicon(data / LEXICON_FILE, ways)
            save_lexicon(data / GUESSED_FILE, {word: ways[word] for word in guessed})
            self.units.tokenizer.save(tokens_path(data))
        except OSError as error:
            raise CorpusError(
                f"cannot write: {error.strerror}",
                where=str(error.filename or data),
                remedy="check the folder and the space left",
            ) from None

    def print_report(self, data: Path) -> None:
        """Say on the terminal what is in the files, in a few lines."""
        if self.characters:
            Console().print(summary(self.characters))
            print(f"all {len(self.characters)} characters: {data / CHARACTERS_FILE}")
        if strange := lacking(self.characters):
            count = len({drop.id for drop in self.drops if drop.why == NOT_IN_TRAIN})
            print(
                f"characters that the training texts lack (utterances: {count}): {named(strange)}"
            )
        if self.drops:
            count = len({drop.id for drop in self.drops})
            print(f"what texts lose (utterances: {count}): {data / DROPPED_FILE}")
        self._print_lexicon(data)
        tokens = self.units.tokenizer.tokens
        more = " …" if len(tokens) > TOKENS_SHOWN else ""
        print(f"{len(tokens)} tokens with the blank: {' '.join(tokens[:TOKENS_SHOWN])}{more}")

    def _print_lexicon(self, data: Path) -> None:
        lexicon = self.units.lexicon
        if lexicon is None:
            return
        ways = sum(map(len, lexicon.ways.values()))
        print(f"{len(lexicon.ways)} words, {ways} pronunciations: {data / LEXICON_FILE}")
        if lexicon.guessed:
            words = sorted(lexicon.guessed)
            some = " ".join(words[:FEW]) + (" …" if len(words) > FEW else "")
            print(f"{len(words)} of them are pronounced by espeak-ng: {some}")
            print(f"to have them otherwise, give --lexicon a mended copy of {data / GUESSED_FILE}")
        if self.units.only_in_words:
            phones = " ".join(self.units.only_in_words)
            print(f"phones of the words asked for that no training text has: {phones}")


def prepare_texts(
    recipe: Recipe, corpus: Corpus, text: TextOptions, units: UnitOptions | None
) -> PreparedTexts:
    """The texts of ``corpus`` in the form ``text``, and their units.

    ``units`` None: where the recipe's texts are phones, these are the tokens; else characters.

    Raises:
        CorpusError: there are no texts to train on, or see :func:`choose_units`.
        ConfigError, MissingPackageError: see there.
    """
    text.check()
    splits, drops = normalised(corpus.splits, text)
    if not any(utterance.text for utterance in splits["train"]):
        raise CorpusError(
            f"all {len(splits['train'])} texts of the training part are empty",
            where=corpus.where,
            remedy="check the transcripts",
        )
    if recipe.token_kind == "phones":
        chosen = Units(_phones(splits["train"], corpus), splits)
        return PreparedTexts(text, chosen, drops, ())
    characters = count_characters(splits)
    strange = [item.character for item in lacking(characters)]
    chosen = choose_units(splits, units or UnitOptions(), text)
    return PreparedTexts(text, chosen, [*drops, *find_lacking(splits, strange)], characters)


def _phones(utterances: Sequence[Utterance], corpus: Corpus) -> Tokenizer:
    """The phones that are known, or those of the training texts."""
    for utterance in utterances:
        if BLANK in utterance.text.split():
            raise CorpusError(
                f"{utterance.id} has a phone called {BLANK}, the name of CTC's blank",
                where=corpus.where,
                remedy="give the phone another name",
            )
    texts = [" ".join(corpus.tokens)] if corpus.tokens else [u.text for u in utterances]
    return Tokenizer.from_texts(texts, "phones")
