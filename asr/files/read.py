"""Texts from files, pipes and standard input, each read once, from its beginning to its end.

Text is UTF-8. A byte-order mark, which some editors put first, is no part of it. Files packed with
gzip or xz are known by their first bytes, not by their names. The name ``-`` is standard input.
"""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import os
import stat
import sys
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, NamedTuple, Protocol

from asr.types import AsrError

__all__ = [
    "DAMAGED",
    "STDIN",
    "Line",
    "Progress",
    "is_pipe",
    "open_input",
    "open_text",
    "read_byte_lines",
    "read_lines",
    "read_text",
]

STDIN = "-"
GZIP_MAGIC = b"\x1f\x8b"
XZ_MAGIC = b"\xfd7zXZ\x00"
BLOCK = 1 << 20  # bytes
DAMAGED = (gzip.BadGzipFile, lzma.LZMAError, EOFError, zlib.error)

StrPath = str | os.PathLike[str]


class Line(NamedTuple):
    """A line of a text, without its end. ``where`` names file and line, for messages."""

    where: str
    text: str


def read_text(path: StrPath, error: type[AsrError], *, remedy: str = "check the path") -> str:
    """The text of a file, its line ends as ``\\n``.

    Args:
        error: what is raised.
        remedy: what helps where the file is missing or may not be read.

    Raises:
        AsrError: of the class ``error``: the file cannot be read, or is not UTF-8 text; the message
            names file and line.
    """
    lines = [line for _, line in read_byte_lines(path, error, remedy=remedy)]
    try:
        text = b"".join(lines).decode()
    except UnicodeDecodeError:
        # Line by line, to say which it is. No character goes beyond its line.
        decoded = [_decoded(line, _where(path, n), error) for n, line in enumerate(lines, start=1)]
        text = "".join(decoded)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(
    path: StrPath, error: type[AsrError], *, remedy: str = "check the path"
) -> list[Line]:
    """The lines of a text that are not blank.

    Raises:
        AsrError: see :func:`read_text`.
    """
    lines = read_text(path, error, remedy=remedy).split("\n")
    return [Line(_where(path, n), text) for n, text in enumerate(lines, start=1) if text.strip()]


def read_byte_lines(
    path: StrPath,
    error: type[AsrError],
    on_read: Callable[[int], None] = lambda _: None,
    *,
    remedy: str = "check the path",
) -> Iterator[tuple[int, bytes]]:
    """The lines of a text of any length, each with its number from 1, as the bytes that they are.

    A block is in memory at a time; ``on_read`` is told how many of the file's bytes were taken
    since the last time.

    Raises:
        AsrError: of the class ``error``: the file cannot be read, or its packed stream is damaged.
    """
    number, taken = 0, 0
    try:
        with open_text(path) as (progress, stream):
            while lines := stream.readlines(BLOCK):
                for number, line in enumerate(lines, start=number + 1):  # noqa: B020
                    yield number, line
                on_read(progress.taken - taken)
                taken = progress.taken
    except DAMAGED:
        raise error(
            "the packed stream is damaged",
            where=f"{path}, after line {number}",
            remedy="get the file anew",
        ) from None
    except OSError as fault:
        what = f"cannot read: {fault.strerror or fault}"
        raise error(what, where=os.fspath(path), remedy=remedy) from None


def _decoded(text: bytes, where: str, error: type[AsrError]) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise error("not UTF-8 text", where=where, remedy="convert it to UTF-8") from None


def _where(path: StrPath, number: int) -> str:
    return f"{os.fspath(path)}, line {number}"


class Progress(Protocol):
    """``taken``: the bytes that were taken from the file until now, packed as they lie there."""

    taken: int


@contextmanager
def open_text(path: StrPath) -> Iterator[tuple[Progress, BinaryIO]]:
    """How far the file is read, and its bytes: unpacked, and without a byte-order mark.

    Raises:
        OSError: it cannot be opened. While it is read also :data:`DAMAGED`.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(open_input(path))
        head = raw.read(len(XZ_MAGIC))
        source = _Joined(head, raw)
        stream: BinaryIO = io.BufferedReader(source, BLOCK)
        if head.startswith(GZIP_MAGIC):
            stream = stack.enter_context(gzip.GzipFile(fileobj=stream, mode="rb"))  # type: ignore[assignment]
        elif head == XZ_MAGIC:
            stream = stack.enter_context(lzma.LZMAFile(stream))  # type: ignore[assignment]
        head = stream.read(len(BOM_UTF8))
        whole = _Joined(b"" if head == BOM_UTF8 else head, stream)
        yield source, io.BufferedReader(whole, BLOCK)


@contextmanager
def open_input(path: StrPath) -> Iterator[BinaryIO]:
    """The bytes of a file, a pipe, or of standard input, which stays open.

    Raises:
        OSError: it cannot be opened.
    """
    if os.fspath(path) != STDIN:
        with open(path, "rb") as file:
            yield file
    elif sys.stdin is None:
        raise OSError(errno.EBADF, "standard input is closed")
    else:
        yield sys.stdin.buffer


def is_pipe(path: StrPath) -> bool:
    """True if what is there can be read once only: a pipe, or standard input."""
    if os.fspath(path) == STDIN:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


class _Joined(io.RawIOBase):
    """``head``, which was read to see what follows, and the rest: a pipe cannot be rewound."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = self._head or self._rest.read(len(buffer))
        kept, self._head = block[: len(buffer)], block[len(buffer) :] if self._head else b""
        buffer[: len(kept)] = kept
        self.taken += len(kept)
        return len(kept)
