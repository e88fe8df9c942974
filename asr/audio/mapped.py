"""The bytes of a file, of which only those are read that are looked at."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from asr.types import AsrError, AudioError

__all__ = ["Data", "Walk", "find", "let_go", "mapped"]

Data = bytes | bytearray | mmap.mmap

STEP = 16 * 1024 * 1024  # bytes of a file that are looked through at a time
OVERLAP = 64  # and as many of the next, where what is looked for may end


@contextmanager
def mapped(path: str | os.PathLike[str]) -> Iterator[Data]:
    """The bytes of a file; errors in the context name it.

    Raises:
        AudioError: the file is missing, unreadable or empty.
    """
    try:
        yield _map(path)
    except AsrError as error:
        raise error.at(str(path)) from None


def let_go(data: Data | memoryview) -> None:
    """Tell the system that what was read of a file need not stay in memory."""
    if isinstance(data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        data.madvise(mmap.MADV_DONTNEED)


class Walk:
    """Lets go of what a reader has passed on its way through ``data``."""

    def __init__(self, data: Data | memoryview, start: int) -> None:
        self._data = data
        self._passed = start

    def at(self, place: int) -> None:
        """It has come to that byte."""
        if place - self._passed >= STEP:
            let_go(self._data)
            self._passed = place


def find(data: Data, wanted: re.Pattern[bytes], start: int) -> int:
    """Where ``wanted``, of :data:`OVERLAP` bytes at most, is first from ``start`` on, or -1.

    Of a file, what was looked through is let go.
    """
    while start < len(data):
        found = wanted.search(data, start, start + STEP + OVERLAP)
        if found:
            return found.start()
        let_go(data)
        start += STEP
    return -1


def _map(path: str | os.PathLike[str]) -> Data:
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise AudioError("the audio is empty", remedy="send the bytes of a recording") from None
    except OSError as error:
        raise AudioError(
            f"cannot read the file: {error.strerror}", remedy="check the path"
        ) from None
