"""How long threads of OpenMP wait awake for each other."""

from __future__ import annotations

import os

__all__ = ["spin_little"]

TURNS = "1000"  # of a loop: some microseconds, where libgomp's own default is milliseconds


def spin_little() -> None:
    """Let threads that have nothing to do fall asleep soon, unless the environment says otherwise.

    torch computes with several threads, which wait for each other after each product. Awake, they
    keep a core busy; where other programs run as well, the thread that is waited for may be the one
    that this keeps off the core. It has to be called before torch is imported: its library reads
    the variable once. Programs of ours call it; who imports the package decides for himself.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", TURNS)
