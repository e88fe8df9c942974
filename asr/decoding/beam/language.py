"""What is known of the language, made ready once for one vocabulary and used by many searches."""

from __future__ import annotations

import logging
import math
import os
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from asr.decoding.beam.kept import Ready, kept_path, read_ready, write_ready
from asr.decoding.beam.phrases import Phrase
from asr.decoding.beam.scoring import NO_LM, NOT_A_WORD, TOKEN_LM, WORD_LM, Grammar, Options
from asr.decoding.beam.tree import build_tree, highest_below
from asr.decoding.beam.words import NO_TRIE, WordGrammar, build_words, without_model
from asr.decoding.config import BeamOptions
from asr.decoding.lexicon import Labels, Lexicon, read_lexicon, spell, spell_words, write_lexicon
from asr.lm.arpa import write_arpa
from asr.lm.model import MISSING_LOG_PROB, LanguageModel
from asr.lm.ngrams import BEGIN, END, UNKNOWN
from asr.tokens import BLANK, Tokenizer
from asr.types import DecodingError, LanguageModelError

__all__ = ["LEXICON_FILE", "LM_FILE", "NOTHING", "Language", "search_options"]

log = logging.getLogger(__name__)

LN10 = math.log(10.0)
LM_FILE, COMPACT_FILE, LEXICON_FILE = "lm.arpa.gz", "lm.compact", "lexicon.txt"
UNITS = ("words", "tokens")
MARKS = (UNKNOWN, BEGIN, END)
FEW = 5  # examples in a message
NO_TREE, _ = build_tree([])


class Language:
    """A language model, a lexicon, or both, for the tokens of ``tokenizer``.

    The log has a warning of words that can never be said, or that the language model does not know
    for upper or lower case or for their Unicode form.

    Args:
        lm: of words, or of the model's tokens, as ``units`` says.
        lexicon: the words that may be said. None: with a model of words, those it has; else any.
        units: ``"words"`` or ``"tokens"``.

    Raises:
        LanguageModelError: the parts do not fit each other.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        lm: LanguageModel | None = None,
        lexicon: Lexicon | None = None,
        units: str = "words",
    ) -> None:
        if units not in UNITS:
            raise LanguageModelError(f"unknown units {units!r}", remedy=f"use {' or '.join(UNITS)}")
        self._tokenizer = tokenizer
        self.lm, self.lexicon, self.units = lm, lexicon, units
        self._tokens = np.zeros(tokenizer.size, dtype=np.int32)
        if lm is not None and units == "tokens":
            _check_tokens(lm, tokenizer, lexicon)
            self._tokens = lm.ids(tokenizer.tokens)
        self._closed = lexicon
        self.warned = False  # of words of the lexicon
        if lexicon is None and lm is not None and units == "words":
            self._closed = _own_words(lm, tokenizer)
        elif lexicon is not None and lm is not None and units == "words":
            self.warned = _warn_of_unknown(lm, lexicon)
        self._said = None if self._closed is None else self._word_grammars(self._closed)
        if self._said is None:
            self._with_lm = self._grammar(lm)
            self._without = self._grammar(None) if lexicon is not None else NOTHING

    @property
    def says_words(self) -> bool:
        """Whether hypotheses are words said by a lexicon, and not texts in tokens."""
        return self._said is not None

    def grammar(self, config: BeamOptions) -> Grammar:
        """The compiled search's view of it; a weight of 0 leaves the language model out."""
        return self._with_lm if config.lm_weight > 0.0 else self._without

    def words(self, config: BeamOptions) -> WordGrammar:
        """The same for search in words, where :attr:`says_words`."""
        assert self._said is not None
        return self._said[config.lm_weight > 0.0]

    @property
    def closed(self) -> Lexicon:
        """The words that may be said, where :attr:`says_words`."""
        assert self._closed is not None
        return self._closed

    @cached_property
    def spoken(self) -> tuple[tuple[str, ...], tuple[tuple[Labels, ...], ...]]:
        """The words by number, and the ways in which each is said, where :attr:`says_words`."""
        said = self.closed.pronunciations
        return tuple(said), tuple(said.values())

    @cached_property
    def _spellings(self) -> dict[Labels, str]:
        """The words that may be said, by their tokens."""
        return {} if self._closed is None else self._closed.spellings(self._tokenizer)

    def _word_grammars(self, lexicon: Lexicon) -> tuple[WordGrammar, WordGrammar] | None:
        """Without and with the language model; None where texts in tokens say as much: where words
        are spelled as they are written, or nothing but tokens is scored.
        """
        if self._tokenizer.word_separator is not None and (
            self.units == "tokens" or _are_as_written(lexicon, self._tokenizer)
        ):
            return None
        words = build_words(lexicon, self.lm, self._tokenizer)
        return without_model(words), words

    def check_phrases(self, phrases: Sequence[Phrase]) -> None:
        """Refuse phrases that words of the lexicon alone can never make.

        Raises:
            DecodingError: a word of a phrase is not in the lexicon.
        """
        for phrase in phrases if self._closed else ():
            for word in phrase.text.split():
                if spell(word, self._tokenizer) not in self._spellings:
                    raise DecodingError(
                        f"the word {word!r} of the phrase {phrase.text!r} is not in the lexicon",
                        remedy="allow such words by unk_score, or extend the lexicon",
                    )

    def _grammar(self, lm: LanguageModel | None) -> Grammar:
        lm_units = NO_LM if lm is None else WORD_LM if self.units == "words" else TOKEN_LM
        grammar = NOTHING._replace(lm_units=lm_units, token_words=self._tokens)
        if lm is not None:
            grammar = grammar._replace(trie=lm.trie, start=lm.start, end=lm.end, unknown=lm.unknown)
        if self._closed is None:
            return grammar
        words = list(self._spellings.values())
        tree, ends = build_tree(list(self._spellings))
        found = np.full(len(tree.tokens), NOT_A_WORD, dtype=np.int32)
        lookahead = np.full(len(tree.tokens), -np.inf)
        found[ends] = 0 if lm_units != WORD_LM or lm is None else lm.ids(words)
        lookahead[ends] = 0.0 if lm_units != WORD_LM else grammar.trie.log_probs[1 + found[ends]]
        return grammar._replace(
            has_lexicon=True,
            tree=tree,
            words=found,
            lookahead=highest_below(tree, lookahead),
            unknown_lookahead=(
                float(grammar.trie.log_probs[1 + grammar.unknown]) if lm_units == WORD_LM else 0.0
            ),
        )

    def save(self, folder: Path) -> str:
        """Write :data:`LM_FILE` and :data:`LEXICON_FILE`, as far as there are such parts.

        A language model that came in compact form is written in it again, :data:`COMPACT_FILE`.
        Returns the units, for :meth:`load`.
        """
        if self.lm is not None and self.lm.rounded:
            self.lm.save_compact(folder / COMPACT_FILE)
        elif self.lm is not None:
            write_arpa(self.lm.ngrams(), folder / LM_FILE)
        if self.lexicon is not None:
            write_lexicon(self.lexicon, folder / LEXICON_FILE, self._tokenizer)
        return self.units

    @classmethod
    def load(
        cls,
        tokenizer: Tokenizer,
        lm: str | os.PathLike[str] | None,
        lexicon: str | os.PathLike[str] | None = None,
        units: str = "words",
        *,
        keep: bool = False,
    ) -> Language:
        """Read an ARPA file, a lexicon, or both.

        With ``keep``, what comes out is kept on disk for the next time, where that is worth it.

        Raises:
            LanguageModelError: a file cannot be read or is damaged, or they do not fit.
        """
        if keep and lm is not None and lexicon is not None and units == "words":
            return cls._kept(tokenizer, lm, lexicon)
        model = None if lm is None else LanguageModel.load(lm)
        words = None if lexicon is None else read_lexicon(lexicon, tokenizer)
        try:
            return cls(tokenizer, model, words, units)
        except LanguageModelError as error:
            raise error.at(str(lm or lexicon)) from None

    def changed(
        self,
        lm: str | os.PathLike[str] | None,
        lexicon: str | os.PathLike[str] | None,
        units: str = "words",
    ) -> Language:
        """The same with another language model, another lexicon, or both, read from files.

        The language model stays where a lexicon is given alone, and the pronunciations of a model
        of phones where a language model of words is.

        Raises:
            LanguageModelError: see :meth:`load`.
        """
        tokenizer = self._tokenizer
        model, words = self.lm, None
        if lm is not None:
            model = LanguageModel.load(lm)
            if units == "words" and tokenizer.kind == "phones":
                words = self.lexicon
        if lexicon is not None:
            words = read_lexicon(lexicon, tokenizer)
        try:
            return Language(tokenizer, model, words, self.units if lm is None else units)
        except LanguageModelError as error:
            raise error.at(str(lm or lexicon)) from None

    @classmethod
    def _kept(
        cls,
        tokenizer: Tokenizer,
        lm: str | os.PathLike[str],
        lexicon: str | os.PathLike[str],
    ) -> Language:
        path = kept_path(tokenizer, lm, lexicon)
        ready = None if path is None else read_ready(path)
        if ready is not None:
            language = cls.__new__(cls)
            language._tokenizer, language.units = tokenizer, "words"
            language.lm, language.lexicon = ready.lm, ready.lexicon
            language._closed, language.warned = ready.lexicon, False
            language._said = without_model(ready.grammar), ready.grammar
            return language
        language = cls.load(tokenizer, lm, lexicon)
        # One that is warned of has to be looked at again.
        if path is not None and language._said is not None and not language.warned:
            assert language.lm is not None
            write_ready(path, Ready(language.lm, language.closed, language._said[True]))
        return language


NOTHING = Grammar(
    lm_units=NO_LM,
    trie=NO_TRIE,
    start=0,
    end=0,
    unknown=0,
    token_words=np.zeros(1, dtype=np.int32),
    has_lexicon=False,
    tree=NO_TREE,
    words=np.full(1, NOT_A_WORD, dtype=np.int32),
    lookahead=np.zeros(1),
    unknown_lookahead=0.0,
)


def search_options(
    config: BeamOptions, tokenizer: Tokenizer, *, has_words: bool = False
) -> Options:
    """``config`` for compiled code; ``has_words``: whatever the tokens, words are searched.

    Raises:
        DecodingError: a score for words is set and there are none.
    """
    separator = tokenizer.word_separator
    if separator is None and config.word_score and not has_words:
        raise DecodingError(
            "the model's vocabulary has no separator of words, so there is no score for them",
            remedy="set word_score to 0 and use token_score, or give a lexicon and no language "
            "model of tokens",
        )
    unk_score, threshold = config.unk_score, config.beam_threshold
    starts = np.array([tokenizer.starts_word(k) for k in range(tokenizer.size)])
    return Options(
        beam_width=config.beam_width,
        token_min_log_prob=float(config.token_min_log_prob),
        beam_threshold=math.inf if threshold is None else float(threshold),
        separator=-1 if separator is None else separator,
        lm_weight=config.lm_weight * LN10,
        word_score=float(config.word_score),
        token_score=float(config.token_score),
        unk_score=-math.inf if unk_score is None else float(unk_score),
        starts=starts,
        marked=bool(starts.any()),
    )


def _are_as_written(lexicon: Lexicon, tokenizer: Tokenizer) -> bool:
    """Whether each word is spelled as it is written, and in no other way."""
    return all(
        not tokenizer.unknown(word) and ways == (tuple(tokenizer.encode(word)),)
        for word, ways in lexicon.pronunciations.items()
    )


def _check_tokens(lm: LanguageModel, tokenizer: Tokenizer, lexicon: Lexicon | None) -> None:
    separator = tokenizer.word_separator
    if lexicon is not None and (
        separator is None or any(separator in way for way in lexicon.spellings(tokenizer))
    ):
        raise LanguageModelError(
            "a language model of tokens does not go with words that are not between separators",
            remedy="use a language model of words (lm_units words), or leave one of them out",
        )
    known = {*tokenizer.tokens, *MARKS} - {BLANK}
    if strangers := [word for word in lm.vocabulary if word not in known]:
        raise LanguageModelError(
            f"{len(strangers)} of the language model's {len(lm.vocabulary)} words are not tokens "
            f"of the model, {strangers[0]!r} for one",
            remedy="make it from text in units of the tokens, or use lm_units words",
        )


def _own_words(lm: LanguageModel, tokenizer: Tokenizer) -> Lexicon:
    words = [word for word in lm.vocabulary if word not in MARKS]
    if tokenizer.kind == "phones":
        raise LanguageModelError(
            "the model's tokens are phones, which spell no words",
            remedy="give a lexicon, or use a language model of phones (lm_units tokens)",
        )
    found = spell_words(words, tokenizer)
    if not found.pronunciations:
        shown = f", {words[0]!r} for one" if words else ""
        raise LanguageModelError(
            f"none of the language model's words can be spelled with the model's tokens{shown}",
            remedy="make it from text in the model's spelling; mind upper and lower case",
        )
    if lost := [word for word in words if word not in found.pronunciations]:
        log.warning(
            "%s of the language model's words cannot be spelled with the model's tokens and are "
            "never recognised%s: %s",
            _count(lost, words),
            _count_of_other_case(lost, lambda word: not tokenizer.unknown(word)),
            _examples(lost),
        )
    return found


def _warn_of_unknown(lm: LanguageModel, lexicon: Lexicon) -> bool:
    """Warn of the lexicon's words that the model lacks, where that is probably a mistake.

    The lexicon decides what is said, so words that the model has in another form are unknown to it;
    and a model without ``<unk>`` gives words that it lacks no chance. Returns whether there are
    any.
    """
    known = set(lm.vocabulary)
    words = list(lexicon.pronunciations)
    lost = [word for word in words if word not in known]
    folded = {_folded(word) for word in known} if lost else set()
    alike = [word for word in lost if _folded(word) in folded]
    other = [word for word in lost if _folded(word) not in folded]
    if alike:
        log.warning(
            "%s of the lexicon's words are in the language model in other case or Unicode form "
            "only and count as unknown there: %s",
            _count(alike, words),
            _examples(alike),
        )
    is_closed = lm.trie.log_probs[1 + lm.unknown] <= MISSING_LOG_PROB
    if other and is_closed:
        log.warning(
            "%s of the lexicon's words are not in the language model, which has no <unk>: they "
            "are all but never recognised: %s",
            _count(other, words),
            _examples(other),
        )
    return bool(alike or (other and is_closed))


def _folded(word: str) -> str:
    return unicodedata.normalize("NFC", word).casefold()


def _count(part: Sequence[str], whole: Sequence[str]) -> str:
    return f"{len(part)} of {len(whole)}"


def _count_of_other_case(words: Sequence[str], fits: Callable[[str], bool]) -> str:
    """Words that would fit in upper or lower case: nearly always a text not normalised."""
    count = sum(fits(word.lower()) or fits(word.upper()) for word in words)
    return f" ({count} for upper or lower case)" if count else ""


def _examples(words: Sequence[str]) -> str:
    return ", ".join(map(repr, words[:FEW])) + (", …" if len(words) > FEW else "")
