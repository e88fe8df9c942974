"""What decoders read from, and what they say when they cannot."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

__all__ = ["Part", "Parts", "UnreadableError"]

Part = bytes | memoryview


class UnreadableError(Exception):
    """The decoder does not read this, or reads no further."""


class Parts(io.RawIOBase):
    """Several pieces of memory as one file; nothing is copied before it is read."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = [memoryview(part) for part in parts]
        self._ends = list(accumulate(len(part) for part in self._parts))
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(base + offset, 0)
        return self._place

    def readinto(self, buffer: Any) -> int:
        space = memoryview(buffer).cast("B")
        done = 0
        while done < len(space) and self._place < self._size:
            index = bisect_right(self._ends, self._place)
            part = self._parts[index]
            start = self._place - (self._ends[index] - len(part))
            piece = part[start : start + len(space) - done]
            space[done : done + len(piece)] = piece
            done += len(piece)
            self._place += len(piece)
        return done

    @property
    def _size(self) -> int:
        return self._ends[-1] if self._ends else 0
