"""From texts to tokens: the units that the options choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from asr.tokens import BLANK, Tokenizer
from recipes.common.manifests import Utterance
from recipes.common.normaliser import TextOptions
from recipes.common.units.lexicon import Lexicon, make_lexicon, read_words, words_of_files
from recipes.common.units.options import OF_LEXICONS, UnitOptions
from recipes.common.units.subwords import train_subwords

__all__ = ["Units", "choose_units"]


@dataclass(frozen=True)
class Units:
    """The tokens, the utterances with what is to be trained on, and the lexicon of phones.

    ``lexicon`` has the words of the training texts and those that were asked for beside them;
    ``only_in_words`` are phones that these alone have.
    """

    tokenizer: Tokenizer
    splits: Mapping[str, Sequence[Utterance]]
    lexicon: Lexicon | None = None
    only_in_words: tuple[str, ...] = ()


def choose_units(
    splits: Mapping[str, Sequence[Utterance]], options: UnitOptions, text: TextOptions
) -> Units:
    """The units of texts that are words.

    Raises:
        ConfigError: there cannot be so many subwords, or see :func:`make_lexicon`.
        CorpusError: words have no pronunciation, or a file of words or pronunciations is broken.
        MissingPackageError: the package of an extra is not installed.
    """
    training = [utterance.text for utterance in splits["train"] if utterance.text]
    if options.kind == "subwords":
        return Units(train_subwords(training, options.vocab_size), splits)
    if options.kind == "characters":
        return Units(Tokenizer.from_texts(training), splits)
    return _phones(splits, options, text)


def _further_words(options: UnitOptions, text: TextOptions) -> dict[str, str]:
    """Words for the lexicon beside those that are said, with their places."""
    if options.words == OF_LEXICONS:
        return words_of_files(options.lexicons, text)
    return {} if options.words is None else read_words(options.words, text)


def _phones(
    splits: Mapping[str, Sequence[Utterance]], options: UnitOptions, text: TextOptions
) -> Units:
    """Phones of every word, since development texts are scored in phones too while training."""
    more = _further_words(options, text)
    said = {
        word: f"{utterance.id}, {utterance.audio}"
        for utterances in splits.values()
        for utterance in utterances
        for word in utterance.text.split()
    }
    every = make_lexicon({**more, **said}, options, text)
    trained = {word for utterance in splits["train"] for word in utterance.text.split()}
    own = {word: ways for word, ways in every.ways.items() if word in trained or word in more}
    lexicon = Lexicon(own, every.guessed & own.keys())
    spelled = {
        split: [replace(u, phones=every.spell(u.text)) for u in utterances]
        for split, utterances in splits.items()
    }
    heard = {phone for u in spelled["train"] for phone in (u.phones or "").split()}
    return Units(
        Tokenizer([BLANK, *lexicon.phones], "phones"),
        spelled,
        lexicon,
        tuple(phone for phone in lexicon.phones if phone not in heard),
    )
