"""Text files as sentences of words, of characters, of phones, or of subwords."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from asr.files.read import read_byte_lines
from asr.lm.ngrams import BEGIN, END, OTHER_UNKNOWN, UNKNOWN
from asr.tokens import SPACE, Tokenizer
from asr.types import ConfigError, CorpusError, TokenError

__all__ = ["UNITS", "read_sentences", "read_vocabulary", "size_on_disk"]

UNITS = ("words", "characters", "phones", "subwords")
RESERVED = {mark.encode() for mark in (UNKNOWN, OTHER_UNKNOWN, BEGIN, END)}

StrPath = str | os.PathLike[str]


def read_sentences(
    paths: Iterable[StrPath],
    units: str = "words",
    on_read: Callable[[int], None] = lambda _: None,
    tokenizer: Tokenizer | None = None,
) -> Iterator[list[bytes]]:
    """Yield the units, in UTF-8, of each line that is not blank.

    Words and phones stand between spaces or tabs. For characters those spaces are units too,
    ``<space>`` as in :class:`asr.tokens.Tokenizer`, one between two words and none at the ends.
    Subwords are those of ``tokenizer``. Files may be packed with gzip. A block of a file is in
    memory at a time; ``on_read`` is told how many of the file's bytes were taken since the last
    time.

    Raises:
        ConfigError: ``units`` is unknown, or they are subwords without a list of these.
        CorpusError: a file cannot be read, is not UTF-8, has a mark of sentences as a word, or
            symbols that no subword has.
    """
    if units not in UNITS:
        raise ConfigError(f"unknown units {units!r}", remedy=f"use {', '.join(UNITS)}")
    given = None if tokenizer is None else tokenizer.kind
    if given != ("subwords" if units == "subwords" else None):
        raise ConfigError(
            "subwords and their list go together",
            remedy="give --units subwords and --tokens, the tokens.txt of a model of subwords",
        )
    for path in paths:
        for number, line in read_byte_lines(path, CorpusError, on_read):
            words = line.split()
            if not words:
                continue
            _check(line, words, f"{path}, line {number}", units)
            if tokenizer is not None:
                yield _subwords(words, tokenizer, f"{path}, line {number}")
            else:
                yield _characters(words) if units == "characters" else words


def _check(line: bytes, words: list[bytes], where: str, units: str) -> None:
    _decoded(line, where)
    if units in ("words", "phones") and not RESERVED.isdisjoint(words):
        mark = next(word for word in words if word in RESERVED).decode()
        raise CorpusError(
            f"the text has {mark}, which stands for sentence marks and unknown words",
            where=where,
            remedy="take it out; a line is a sentence",
        )


def _decoded(text: bytes, where: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise CorpusError("not UTF-8 text", where=where, remedy="convert it to UTF-8") from None


def _characters(words: list[bytes]) -> list[bytes]:
    text = b" ".join(words).decode()
    return [(SPACE if character == " " else character).encode() for character in text]


def _subwords(words: list[bytes], tokenizer: Tokenizer, where: str) -> list[bytes]:
    try:
        ids = tokenizer.encode(b" ".join(words).decode())
    except TokenError as error:
        raise CorpusError(
            f"{error.what}, which no subword has", where=where, remedy="normalise the text"
        ) from None
    return [tokenizer.tokens[k].encode() for k in ids]


def read_vocabulary(path: StrPath) -> frozenset[str]:
    """The words of a file, between spaces or line breaks.

    Raises:
        CorpusError: the file cannot be read, is not UTF-8, or has no words.
    """
    lines = read_byte_lines(path, CorpusError)
    words = {_decoded(line, f"{path}, line {n}") for n, text in lines for line in text.split()}
    if not words:
        raise CorpusError("the list of words is empty", where=str(path), remedy="give one a line")
    return frozenset(words)


def size_on_disk(paths: Iterable[StrPath]) -> int:
    """Bytes of the files together; those that are missing count for nothing."""
    return sum(path.stat().st_size for path in map(Path, paths) if path.is_file())
