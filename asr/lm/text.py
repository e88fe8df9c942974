"""Text files as sentences of words, of characters, or of phones."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from asr.lm.ngrams import BEGIN, END, UNKNOWN
from asr.tokens import SPACE
from asr.types import ConfigError, CorpusError

__all__ = [
    "UNITS",
    "numbered_lines",
    "open_text",
    "read_sentences",
    "read_vocabulary",
    "size_on_disk",
]

UNITS = ("words", "characters", "phones")
GZIP_MAGIC = b"\x1f\x8b"
BLOCK = 1 << 20  # bytes
RESERVED = {mark.encode() for mark in (UNKNOWN, BEGIN, END)}

StrPath = str | os.PathLike[str]


def read_sentences(
    paths: Iterable[StrPath],
    units: str = "words",
    on_read: Callable[[int], None] = lambda _: None,
) -> Iterator[list[bytes]]:
    """Yield the units, in UTF-8, of each line that is not blank.

    Words and phones stand between spaces or tabs. For characters those spaces are units too,
    ``<space>`` as in :class:`asr.tokens.Tokenizer`, one between two words and none at the ends.
    Files may be packed with gzip. A block of a file is in memory at a time; ``on_read`` is told how
    many of the file's bytes were taken since the last time.

    Raises:
        ConfigError: ``units`` is unknown.
        CorpusError: a file cannot be read, is not UTF-8, or has a mark of sentences as a word.
    """
    if units not in UNITS:
        raise ConfigError(f"unknown units {units!r}", remedy=f"use {', '.join(UNITS)}")
    for path in paths:
        for number, line in numbered_lines(path, on_read):
            words = line.split()
            if not words:
                continue
            _check(line, words, f"{path}, line {number}", units)
            yield _characters(words) if units == "characters" else words


def _check(line: bytes, words: list[bytes], where: str, units: str) -> None:
    _decoded(line, where)
    if units != "characters" and not RESERVED.isdisjoint(words):
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


def numbered_lines(path: StrPath, on_read: Callable[[int], None]) -> Iterator[tuple[int, bytes]]:
    number, taken = 0, 0
    try:
        with open_text(path) as (raw, stream):
            while lines := stream.readlines(BLOCK):
                for number, line in enumerate(lines, start=number + 1):  # noqa: B020
                    yield number, line
                on_read(raw.tell() - taken)
                taken = raw.tell()
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise CorpusError(
            "the gzip stream is damaged", where=f"{path}, after line {number}", remedy="get it anew"
        ) from None
    except OSError as error:
        raise CorpusError(f"cannot read: {error.strerror}", where=str(path)) from None


@contextmanager
def open_text(path: StrPath) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The file, and its bytes unpacked if it is gzip by its first two bytes, not by its name."""
    with ExitStack() as stack:
        raw = stack.enter_context(open(path, "rb"))
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        yield raw, stack.enter_context(gzip.GzipFile(fileobj=raw)) if packed else raw  # type: ignore[misc]


def read_vocabulary(path: StrPath) -> frozenset[str]:
    """The words of a file, between spaces or line breaks.

    Raises:
        CorpusError: the file cannot be read, is not UTF-8, or has no words.
    """
    lines = numbered_lines(path, lambda _: None)
    words = {_decoded(line, f"{path}, line {n}") for n, text in lines for line in text.split()}
    if not words:
        raise CorpusError("the list of words is empty", where=str(path), remedy="give one a line")
    return frozenset(words)


def size_on_disk(paths: Iterable[StrPath]) -> int:
    """Bytes of the files together; those that are missing count for nothing."""
    return sum(path.stat().st_size for path in map(Path, paths) if path.is_file())
