"""Memory that is freed stays with the program."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let the allocator keep what is freed, for the next tensor of that size.

    By default glibc gives large blocks back to the system at once, and gets them again page by
    page, each cleared: a fifth of the processor time of a training step on a CPU. With this a
    program holds what it needed at most.

    Returns:
        whether the allocator is one that can be told.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, MOST), (M_TOP_PAD, 64 << 20))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
