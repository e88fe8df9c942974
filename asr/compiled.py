"""Compiles functions on plain numpy arrays to machine code, once for all later runs if possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

__all__ = ["compiled", "inlined"]

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """``function`` as machine code that releases the interpreter's lock.

    The code is kept beside the source, or in the user's cache. Where neither can be written (an
    image with a read-only root) it is compiled in each process, which takes seconds.

    What is kept is renewed when the function's own file changes, not when one that it calls does:
    compiled functions that call each other across files have to be compiled again by hand.
    """
    return _compiled(function, forceinline=False)


def inlined(function: Function) -> Function:
    """As :func:`compiled`, for what is called so often that the call itself would cost."""
    return _compiled(function, forceinline=True)


def _compiled(function: Function, forceinline: bool) -> Function:
    try:
        return cast(Function, njit(nogil=True, cache=True, forceinline=forceinline)(function))
    except RuntimeError:  # numba found no folder to write to
        return cast(Function, njit(nogil=True, forceinline=forceinline)(function))
