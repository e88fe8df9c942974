"""What compiled code writes to standard error, kept from the terminal."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

__all__ = ["quiet_c", "quiet_cpp"]

NAME = "__stderrp" if sys.platform == "darwin" else "stderr"
DESCRIPTOR = Lock()


@contextmanager
def quiet_c() -> Iterator[None]:
    """What C writes to its ``stderr`` goes nowhere meanwhile, in all threads.

    Python's own lines go on: the stream of C's library is another one, and not the file descriptor.
    Several threads may be within at once. Where the C library names its stream otherwise, nothing
    is kept from the terminal.
    """
    stream = _stream()
    if stream is None:
        yield
        return
    stream.turn_away()
    try:
        yield
    finally:
        stream.give_back()


@contextmanager
def quiet_cpp() -> Iterator[None]:
    """Nothing on standard error meanwhile: C++ has a stream of its own, past Python's and C's.

    Lines of other threads are lost too. By one thread at a time: a second would take the first
    one's silence for what was there before.
    """
    with DESCRIPTOR, open(os.devnull, "w", encoding="utf-8") as nowhere:
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


class _Stream:
    """The variable of the C library that points to its stream."""

    def __init__(self, variable: ctypes.c_void_p, nowhere: int) -> None:
        self._variable = variable
        self._nowhere = nowhere
        self._lock = Lock()
        self._inside = 0
        self._kept: int | None = None

    def turn_away(self) -> None:
        with self._lock:
            if not self._inside:
                self._kept, self._variable.value = self._variable.value, self._nowhere
            self._inside += 1

    def give_back(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._variable.value = self._kept


@cache
def _stream() -> _Stream | None:
    try:
        library = ctypes.CDLL(None)
        variable = ctypes.c_void_p.in_dll(library, NAME)
        library.fopen.restype = ctypes.c_void_p
        nowhere = library.fopen(os.fsencode(os.devnull), b"w")
    except (AttributeError, OSError, TypeError, ValueError):  # as on Windows
        return None
    return _Stream(variable, nowhere) if nowhere else None
