"""The words that may be said, and how each is spelled in the model's tokens."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from asr.decoding.lexicon_file import read_entries
from asr.files.write import write_text
from asr.subwords import MARK
from asr.tokens import SPACE, Tokenizer
from asr.types import LanguageModelError, TokenError

__all__ = ["Lexicon", "read_lexicon", "spell", "spell_words"]

Spelling = tuple[int, ...]


@dataclass(frozen=True)
class Lexicon:
    """Words by spelling; a word may have several, but a spelling is that of one word.

    ``lines`` are what a file of it holds, to be written again.
    """

    words: dict[Spelling, str]
    lines: tuple[str, ...] = field(default=())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file that :func:`read_lexicon` reads."""
        write_text(path, "".join(f"{line}\n" for line in self.lines))


def read_lexicon(path: str | os.PathLike[str], tokenizer: Tokenizer) -> Lexicon:
    """Read a file with a word a line, or a word and its spelling: tokens between spaces.

    A word without a spelling is spelled as it is written; a word may have several, on lines of
    their own. The separator of words may end a spelling, as flashlight's files have it. For more of
    the form see :func:`asr.decoding.lexicon_file.read_entries`.

    Raises:
        LanguageModelError: the file cannot be read or has no words, a spelling has tokens that the
            model lacks, or two words are spelled alike; the message has word and line.
    """
    words: dict[Spelling, str] = {}
    lines = []
    for where, word, tokens, text in read_entries(path, LanguageModelError):
        try:
            spelling = _parsed(tokens, tokenizer) if tokens else spell(word, tokenizer)
        except TokenError as error:
            raise LanguageModelError(
                f"the word {word!r} has {error.what}",
                where=where,
                remedy="spell it with the model's tokens, or take it out",
            ) from None
        if words.setdefault(spelling, word) != word:
            raise LanguageModelError(
                f"the words {words[spelling]!r} and {word!r} are spelled alike",
                where=where,
                remedy="keep one: a text cannot tell them apart",
            )
        lines.append(text)
    if not words:
        raise LanguageModelError("the lexicon is empty", where=str(path), remedy="give words")
    return Lexicon(words, tuple(lines))


def spell_words(words: Iterable[str], tokenizer: Tokenizer) -> Lexicon:
    """Those of ``words`` that the tokens can spell, as they are written."""
    found: dict[Spelling, str] = {}
    for word in words:
        with suppress(TokenError):
            found[spell(word, tokenizer)] = word
    return Lexicon(found, tuple(found.values()))


def spell(word: str, tokenizer: Tokenizer) -> Spelling:
    """The tokens of ``word`` as it is written; what separates it from others is none of them.

    Raises:
        TokenError: it has symbols outside the vocabulary.
    """
    spelling = tuple(tokenizer.encode(word))
    return spelling[1:] if spelling[:1] == (tokenizer.word_separator,) else spelling


def _parsed(tokens: list[str], tokenizer: Tokenizer) -> Spelling:
    if tokens[-1] in (SPACE, "|"):
        tokens = tokens[:-1]
    if tokenizer.kind == "subwords" and tokens[:1] == [MARK]:
        tokens = tokens[1:]
    inside = {
        token: number
        for number, token in enumerate(tokenizer.tokens)
        if number not in (tokenizer.blank, tokenizer.word_separator)
    }
    unknown = [token for token in tokens if token not in inside]
    if unknown or not tokens:
        what = f"unknown symbols {', '.join(map(repr, unknown))}" if unknown else "no spelling"
        raise TokenError(what)
    spelling = tuple(inside[token] for token in tokens)
    if later := [
        token for token, k in zip(tokens[1:], spelling[1:], strict=True) if tokenizer.starts_word(k)
    ]:
        raise TokenError(f"a subword within that begins a word, {later[0]!r}")
    return spelling
