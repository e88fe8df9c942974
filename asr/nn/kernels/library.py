"""The compiled library of the CPU kernel: found, loaded, called with tensors."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch
from torch import Tensor

from asr.types import AsrError, ConfigError

__all__ = ["MISSING", "PATH", "Address", "call", "count"]

FOLDER = Path(__file__).parent / "native"
TARGETS = ("default", "avx2", "avx512", "avx512vnni")  # in rising order; setup.py builds these
# ATEN_CPU_CAPABILITY limits torch's own vectors, and ours with them. torch believes whatever it
# says, so it never widens them here.
ALLOWED_BY_TORCH = {"AVX512": 3, "AVX2": 1}
NO_MEMORY = 1
INTERFACE = 2  # the functions and their arguments, as recurrence.cpp numbers them


def _find() -> Path | None:
    """The library with the widest vectors that this processor has and torch is allowed to use.

    None as well where those of another version of the package were left behind: they would read
    other arguments.
    """
    default = _built("default")
    if default is None or _interface(default) != INTERFACE:
        return None
    width = min(
        ctypes.CDLL(str(default)).recurrence_vectors(),
        ALLOWED_BY_TORCH.get(torch.backends.cpu.get_cpu_capability(), 0),
    )
    built = (_built(target) for target in reversed(TARGETS[: width + 1]))
    return next(path for path in built if path)


def _built(target: str) -> Path | None:
    for suffix in EXTENSION_SUFFIXES:
        path = FOLDER / f"recurrence_{target}{suffix}"
        if path.is_file():
            return path
    return None


def _interface(path: Path) -> int:
    library = ctypes.CDLL(str(path))
    return library.recurrence_interface() if hasattr(library, "recurrence_interface") else 1


PATH = _find()
MISSING = None if PATH else "install a C++ compiler, then install peephole-asr again"


class Address(int):
    """Of the first element of a tensor that need not be contiguous."""


def count(function: str, *arguments: int) -> int:
    """What a function of the library that counts gives.

    Raises:
        ConfigError: there is no library.
    """
    counter = getattr(_load(), function)
    counter.restype = ctypes.c_int64
    return int(counter(*map(ctypes.c_int64, arguments)))


def call(function: str, *arguments: int | Tensor | None) -> None:
    """Call a function of the library; a tensor goes as the address of its first element.

    Raises:
        AsrError: the library ran out of memory or failed.
        ConfigError: there is no library.
    """
    code = getattr(_load(), function)(*(_convert(argument) for argument in arguments))
    if code == NO_MEMORY:
        raise AsrError(
            "not enough memory for the recurrence", remedy="make the batch or the audio shorter"
        )
    if code:
        raise AsrError(f"the CPU kernel failed in {function} with code {code}")


def _convert(argument: int | Tensor | None) -> ctypes.c_int64 | ctypes.c_void_p:
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, Tensor):
        if not argument.is_contiguous():
            raise ValueError("the CPU kernel takes contiguous tensors")
        return ctypes.c_void_p(argument.data_ptr())
    if isinstance(argument, Address):
        return ctypes.c_void_p(argument)
    return ctypes.c_int64(argument)


@cache
def _load() -> ctypes.CDLL:
    if PATH is None:
        raise ConfigError(f"there is no CPU kernel: {MISSING}", remedy="choose another kernel")
    return ctypes.CDLL(str(PATH))
