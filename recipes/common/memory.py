"""Freed memory stays with the process, so that the next step of training has it at once."""

from __future__ import annotations

import ctypes
import os

__all__ = ["keep_freed"]

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # glibc's malloc.h
PAD_BYTES = 64 << 20  # asked of the system at once


def keep_freed() -> None:
    """Let the C library keep what is freed; nothing where it is not glibc, or is told otherwise.

    glibc asks the system for each large block and gives it back when it is freed. A step of
    training on a CPU has the same hundreds of blocks as the one before: the system then spends a
    seventh of the time handing out empty pages. Kept blocks are of different sizes, so that the
    process may hold somewhat more in all.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (TOP_PAD, PAD_BYTES)):
            mallopt(option, value)
