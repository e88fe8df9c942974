"""Starting faster: imports and loading without the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["starting"]


@contextmanager
def starting() -> Iterator[None]:
    """Let nothing be collected within, and never again look at what was made within.

    Modules, lexicons and models stay to the end, and hundreds of thousands of objects are looked at
    again and again for garbage that is not there: a quarter of the time that it takes to import
    torch and numba and to read a model.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
