"""``torchaudio`` for everyone in this package, importable beside a CPU build of torch.

torchaudio's wheel carries a compiled extension built against CUDA; beside a CPU-only torch its
import fails. Everything we take from torchaudio is tensor code that never calls the extension, so
where loading fails, torchaudio is told that there is none, a case that it supports itself.

It is loaded when ``torchaudio`` is first taken from here, which the default features never do: its
models and data sets come with it, and take a tenth of a second.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from types import ModuleType
from unittest import mock

__all__ = ["torchaudio"]  # noqa: F822


_importing = Lock()


def __getattr__(name: str) -> ModuleType:
    if name != "torchaudio":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _importing:
        return _import()


def _import() -> ModuleType:
    try:
        return importlib.import_module("torchaudio")
    except OSError:  # a library of CUDA that is not here
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        with mock.patch.object(Path, "glob", _glob_without_extension):
            return importlib.import_module("torchaudio")


_glob = Path.glob


def _glob_without_extension(path: Path, pattern: str) -> Iterator[Path]:
    """``Path.glob``, blind to torchaudio's extension: that is how torchaudio looks for it."""
    return iter(()) if pattern.startswith("_torchaudio") else iter(_glob(path, pattern))
