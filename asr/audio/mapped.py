"""The bytes of a file, of which only those are read that are looked at."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

from asr.audio.containers import Data
from asr.types import AsrError, AudioError

__all__ = ["let_go", "mapped"]


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


def let_go(data: Data) -> None:
    """Tell the system that what was read of a file need not stay in memory."""
    if isinstance(data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        data.madvise(mmap.MADV_DONTNEED)


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
