"""Starting faster: loading without the garbage collector, and the compiler without BLAS."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

__all__ = ["load_compiler", "starting"]

BLAS = "scipy.linalg"  # where numba looks for it


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


def load_compiler() -> None:
    """Import numba so that it does not import scipy, which takes as long as numba itself; on a
    terminal, say so where the search is not compiled yet.

    It looks there for products of matrices, and remembers whether it found any. No compiled code of
    ours has them; a program that compiles its own, with such products, must not call this.
    """
    modules: dict[str, Any] = sys.modules
    if BLAS not in modules:
        modules[BLAS] = None  # as if it were not installed
        try:
            import_module("numba.np.arraymath")
        finally:
            del modules[BLAS]
    if sys.stderr is not None and sys.stderr.isatty():
        _tell_of_compiling()


def _tell_of_compiling() -> None:
    """Say what a new installation's first search waits for."""
    from asr.compiled import cache_folder

    folder = cache_folder()
    if folder is None:
        print("compiling the search: some 20 s", file=sys.stderr)
    elif not any(folder.rglob("*search.search*.nbi")):
        print("compiling the search: some 20 s, the first time only", file=sys.stderr)
