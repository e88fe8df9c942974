"""The words that may be said and the tokens each is said with, as all decoders read them.

A line has a word and its tokens, which are phones, or another spelling; a word alone is spelled as
it is written. ``READ(2)`` is another way to say ``READ``, as the CMU dictionary has them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from asr.files.read import read_text
from asr.files.write import write_text
from asr.lm.ngrams import OTHER_UNKNOWN, UNKNOWN
from asr.tokens import SPACE, Tokenizer
from asr.types import AsrError, LanguageModelError

__all__ = [
    "Labels",
    "Lexicon",
    "read_lexicon",
    "separator_of",
    "spell",
    "spell_words",
    "write_lexicon",
]

Labels = tuple[int, ...]
VARIANT = re.compile(r"(.+)\([0-9]+\)")
# Of CMU Sphinx and Kaldi: no words, but silence, also before and after a sentence.
SILENCE_WORDS = ("<sil>", "<SIL>", "!SIL", "<s>", "</s>")
SILENCES = ("sil", "sp", "pau", "epi", "h#", "#h", "<sil>")  # phones for it, in any case
END_MARK = "|"  # flashlight's files end spellings with the separator, and write it so


@dataclass(frozen=True)
class Lexicon:
    """The pronunciations of words: of phones or subwords, or spellings.

    Attributes:
        pronunciations: token ids of each word, in one way or several; words may be said alike.
        separator: the token that has to stand between two words; None: nothing has to.
        silences: tokens that may stand at the ends and between words, where nothing has to.
    """

    pronunciations: Mapping[str, tuple[Labels, ...]]
    separator: int | None = None
    silences: tuple[int, ...] = ()

    @property
    def between(self) -> tuple[int, ...]:
        """The tokens that stand between words, or may."""
        return self.silences if self.separator is None else (self.separator,)

    def spellings(self, tokenizer: Tokenizer) -> dict[Labels, str]:
        """Words by their tokens, without what separates them from others."""
        return {_without_mark(way, tokenizer): word for word, way in self.ways()}

    def ways(self) -> Iterator[tuple[str, Labels]]:
        """Each pronunciation with its word."""
        return ((word, way) for word, ways in self.pronunciations.items() for way in ways)


def read_lexicon(
    path: str | os.PathLike[str],
    tokenizer: Tokenizer,
    error: type[AsrError] = LanguageModelError,
) -> Lexicon:
    """Read lines ``word token token …``; a word may stand on several, with one way to say it each.

    The separator of words may end a line. ``<sil> SIL`` names a token that may stand between words;
    without such a line they are those of the phones that are called by one of :data:`SILENCES`.
    ``<UNK>`` is ``<unk>``.

    Raises:
        AsrError: of the class ``error``: the file cannot be read, is not UTF-8 text or has no
            words; a word has no tokens, or ones that the model lacks, or is said twice in the same
            way. The message has file and line.
    """
    ids = {token: k for k, token in enumerate(tokenizer.tokens) if k != tokenizer.blank}
    found: dict[str, dict[Labels, int]] = {}  # with the number of the line
    silences: list[int] = []
    for number, text in enumerate(read_text(path, error).split("\n"), start=1):
        word, *tokens = text.split() or [""]
        if not word:
            continue
        try:
            way = _parsed(word, tokens, ids, tokenizer)
            if word in SILENCE_WORDS:
                silences.append(_silence(word, way, tokenizer))
                continue
            word = _plain(word)
            first = found.setdefault(word, {}).setdefault(way, number)
            if first != number:
                raise error(
                    f"the word {word!r} has the tokens {' '.join(tokens) or word!r} twice, "
                    f"first in line {first}",
                    remedy="take one of the lines out",
                )
        except AsrError as fault:
            where = f"{os.fspath(path)}, line {number}"
            raise error(fault.what, where=where, remedy=fault.remedy) from None
    if not found:
        raise error("the lexicon is empty", where=str(path), remedy="give one word a line")
    return Lexicon(
        {word: tuple(ways) for word, ways in found.items()},
        separator_of(tokenizer),
        tuple(dict.fromkeys(silences)) or _silences_of(tokenizer),
    )


def spell_words(words: Iterable[str], tokenizer: Tokenizer) -> Lexicon:
    """Those of ``words`` that the tokens can spell, as they are written."""
    spelled = {word: (tuple(tokenizer.encode(word)),) for word in words if _spells(tokenizer, word)}
    return Lexicon(spelled, separator_of(tokenizer), _silences_of(tokenizer))


def spell(word: str, tokenizer: Tokenizer) -> Labels:
    """The tokens of ``word`` as it is written; what separates it from others is none of them.

    Raises:
        TokenError: it has symbols outside the vocabulary.
    """
    return _without_mark(tuple(tokenizer.encode(word)), tokenizer)


def separator_of(tokenizer: Tokenizer) -> int | None:
    """The token that stands between words; a mark stands within the first subword of one."""
    return None if tokenizer.kind == "subwords" else tokenizer.word_separator


def write_lexicon(lexicon: Lexicon, path: str | os.PathLike[str], tokenizer: Tokenizer) -> None:
    """Write what :func:`read_lexicon` reads."""
    tokens = tokenizer.tokens
    lines = []
    for word, way in lexicon.ways():
        as_written = _spells(tokenizer, word) and tuple(tokenizer.encode(word)) == way
        name = f"{word}(1)" if VARIANT.fullmatch(word) else word  # else it would be read as one
        lines.append(name if as_written else _line(name, way, tokens))
    if lexicon.silences != _silences_of(tokenizer):
        lines += [_line(SILENCE_WORDS[0], (k,), tokens) for k in lexicon.silences]
    write_text(path, "".join(f"{line}\n" for line in lines))


def _line(word: str, way: Labels, tokens: Sequence[str]) -> str:
    return f"{word} {' '.join(tokens[k] for k in way)}"


def _without_mark(way: Labels, tokenizer: Tokenizer) -> Labels:
    return way[1:] if way[0] == tokenizer.word_separator else way


def _plain(word: str) -> str:
    """The word itself, of one that may be numbered as a variant."""
    if word.endswith(")") and (variant := VARIANT.fullmatch(word)):
        word = variant[1]
    return UNKNOWN if word == OTHER_UNKNOWN else word


def _parsed(word: str, tokens: list[str], ids: Mapping[str, int], tokenizer: Tokenizer) -> Labels:
    """How a line says its word."""
    if not tokens:
        return _as_written(_plain(word), tokenizer)
    ends = {SPACE} if END_MARK in ids else {SPACE, END_MARK}
    if tokens[-1] in ends and separator_of(tokenizer) is not None:
        tokens = tokens[:-1]
    try:
        way = tuple(map(ids.__getitem__, tokens))
    except KeyError:
        unknown = [token for token in dict.fromkeys(tokens) if token not in ids]
        raise LanguageModelError(
            f"the word {word!r} has tokens that the model lacks: {', '.join(map(repr, unknown))}",
            remedy="say it with tokens of the bundle's tokens.txt, or take it out",
        ) from None
    if tokenizer.kind == "subwords":
        way = _marked(word, way, tokenizer)
    if not way:
        raise LanguageModelError(
            f"the word {word!r} has no tokens", remedy="say how it is spelled or pronounced"
        )
    return way


def _marked(word: str, way: Labels, tokenizer: Tokenizer) -> Labels:
    """Subwords as of one word: the first begins with the mark, or has it before itself."""
    mark = tokenizer.word_separator
    inside = way[1:] if way[:1] == (mark,) else way
    later = [k for k in inside[1:] if k == mark or tokenizer.starts_word(k)]
    if later:
        raise LanguageModelError(
            f"the word {word!r} has a subword within that begins a word, "
            f"{tokenizer.tokens[later[0]]!r}",
            remedy="give each word its own line",
        )
    starts = bool(inside) and tokenizer.starts_word(inside[0])
    return inside if starts or not inside or mark is None else (mark, *inside)


def _as_written(word: str, tokenizer: Tokenizer) -> Labels:
    if tokenizer.kind == "phones":
        raise LanguageModelError(
            f"the word {word!r} has no phones", remedy="say how it is pronounced"
        )
    if unknown := tokenizer.unknown(word):
        raise LanguageModelError(
            f"the word {word!r} has unknown symbols {', '.join(map(repr, unknown))}",
            remedy="spell it with the model's tokens, or take it out",
        )
    return tuple(tokenizer.encode(word))


def _silence(word: str, way: Labels, tokenizer: Tokenizer) -> int:
    if tokenizer.word_separator is not None:
        between = tokenizer.tokens[tokenizer.word_separator]
        raise LanguageModelError(
            f"{word} names a token between words, and the model has {between} there",
            remedy="take the line out",
        )
    if len(way) != 1:
        raise LanguageModelError(
            f"{word} has {len(way)} tokens", remedy="give a line with one for each"
        )
    return way[0]


def _silences_of(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The phones that are called as silences are; of subwords, the mark alone."""
    if tokenizer.kind == "subwords" and tokenizer.word_separator is not None:
        return (tokenizer.word_separator,)
    if tokenizer.kind != "phones":
        return ()
    return tuple(k for k, token in enumerate(tokenizer.tokens) if token.lower() in SILENCES)


def _spells(tokenizer: Tokenizer, word: str) -> bool:
    """Whether the tokens can write ``word``, which is one word also where Unicode has spaces."""
    return word.split() == [word] and tokenizer.kind != "phones" and not tokenizer.unknown(word)
