"""How much memory the process holds, how much there is, and giving back what is not used."""

from __future__ import annotations

import ctypes
import math
import os
import resource
import sys
from pathlib import Path

__all__ = ["PACE_SECONDS", "available_bytes", "give_back", "processors", "resident_bytes"]

# glibc has an arena for each thread, and each of these holds what its calls took together at their
# most: it grows at each new record, for as long as the process lives, unless it is given back.
PACE_SECONDS = 10.0

STATM = Path("/proc/self/statm")
CGROUP_LIMITS = (  # version 2, version 1
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # version 2: microseconds of each period
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Memory that this process holds now; where the system does not tell, the most it ever held."""
    try:
        return int(STATM.read_text().split()[1]) * PAGE
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most


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


def processors() -> int:
    """Processors that this process may use, at least one: a container may have a share of them."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    try:
        quota, period = CPU_LIMIT.read_text().split()
        return max(1, min(count, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # none, or "max": no limit
        return count
