"""Compiles functions on plain numpy arrays to machine code, once for all later runs if possible."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, cast

import numba
from numba import njit

__all__ = ["cache_folder", "compiled", "inlined"]

config: Any = numba.config  # its variables are made when it is imported
Function = TypeVar("Function", bound=Callable[..., object])

PACKAGE = Path(__file__).parent
NAME = "peephole-asr-{}"  # of a folder; a digest follows
DIGITS = 16
# Reading it so takes a tenth of the time of a parser. What stands in a text and looks like it does
# no harm: its file counts as well.
IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|.*)|import[ \t]+(.*))", re.MULTILINE
)
NAMED = re.compile(r"[\w.]+")
KEPT = 3  # folders: those of other checkouts and of the release before may be in use
_caching = Lock()


def compiled(function: Function) -> Function:
    """``function`` as machine code that releases the interpreter's lock.

    The code is kept in the folder that ``NUMBA_CACHE_DIR`` names, beside this package, or in the
    user's cache, whichever can be written first. Where none can (an image with a read-only root) it
    is compiled in each process, which takes seconds.

    numba renews what it kept when the function's own file changes, not when one does whose
    functions it calls. So code is kept in a folder within that one, whose name has a digest of all
    files that compiled code is made of: when one of them changes, all is compiled anew.
    """
    return _compiled(function, forceinline=False)


def inlined(function: Function) -> Function:
    """As :func:`compiled`, for what is called so often that the call itself would cost."""
    return _compiled(function, forceinline=True)


def _compiled(function: Function, forceinline: bool) -> Function:
    folder = cache_folder()
    if folder is not None:
        # A function without a file (typed in, say) has no place either: a RuntimeError of numba's.
        with suppress(RuntimeError), _caching_in(folder):
            return cast(Function, njit(nogil=True, cache=True, forceinline=forceinline)(function))
    return cast(Function, njit(nogil=True, forceinline=forceinline)(function))


@contextmanager
def _caching_in(folder: Path) -> Iterator[None]:
    """Let numba choose ``folder`` for functions decorated here, and no others: a function keeps the
    folder that it got."""
    with _caching:
        before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
        try:
            yield
        finally:
            config.CACHE_DIR = before


@cache
def cache_folder() -> Path | None:
    """The folder for code of the sources as they are; None where nothing can be written."""
    given = [Path(config.CACHE_DIR)] if config.CACHE_DIR else []
    user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    for place in (*given, PACKAGE / "__pycache__", user):
        folder = place / NAME.format(_digest())
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()  # numba asks the same
            os.utime(folder)
            _remove_old(folder)
            return folder
    return None


def _remove_old(current: Path) -> None:
    """Keep the folders used last. Who still uses another compiles again."""
    others = set(current.parent.glob(NAME.format("[0-9a-f]" * DIGITS))) - {current}
    with suppress(OSError):  # another process may be removing them as well
        for folder in sorted(others, key=lambda folder: folder.stat().st_mtime)[: 1 - KEPT]:
            shutil.rmtree(folder, ignore_errors=True)


def _digest() -> str:
    """Of all files with compiled functions, and of all that these import from the package:
    constants and layouts of records become machine code as well.
    """
    waiting = [path for path in PACKAGE.rglob("*.py") if b"asr.compiled import" in _read(path)]
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path)
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(f"{path.relative_to(PACKAGE)}\0{len(_read(path))}\0".encode() + _read(path))
    return digest.hexdigest()[:DIGITS]


def _imported(path: Path) -> list[Path]:
    """Files of the package that a file imports."""
    names: set[str] = set()
    for module, members, modules in IMPORT.findall(_read(path)):
        inside = NAMED.findall(members.decode())
        # What is imported from a package may be one of its modules.
        names |= {module.decode(), *(f"{module.decode()}.{name}" for name in inside)}
        names |= set(NAMED.findall(modules.decode()))
    own = (name.split(".")[1:] for name in names if name.startswith(f"{PACKAGE.name}."))
    bases = [PACKAGE.joinpath(*parts) for parts in own]
    files = [base.with_suffix(".py") for base in bases] + [base / "__init__.py" for base in bases]
    return [file for file in files if file.is_file()]


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()
