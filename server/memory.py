"""How much memory the process holds, how much there is, and giving back what is not used."""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

__all__ = ["available_bytes", "give_back", "resident_bytes"]

STATM = Path("/proc/self/statm")
CGROUP_LIMITS = (  # version 2, version 1
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Memory that this process holds now; where the system does not tell, the most it ever held."""
    try:
        return int(STATM.read_text().split()[1]) * PAGE
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def available_bytes() -> int:
    """The memory of the machine, or of the container if that is less."""
    amounts = [os.sysconf("SC_PHYS_PAGES") * PAGE]
    for path in CGROUP_LIMITS:
        try:
            amounts.append(int(path.read_text()))
        except (OSError, ValueError):  # "max": no limit
            continue
    return min(amounts)


def give_back() -> None:
    """Return to the system what was freed and is kept for later; nothing where libc has no such.

    After large uploads glibc keeps as much as they took.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
