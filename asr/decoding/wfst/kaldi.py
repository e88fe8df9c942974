"""The optional packages that graphs are made and searched with."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from asr.types import ConfigError

__all__ = ["kaldi"]


def kaldi(name: str) -> Any:
    """The package called ``name``, one of those of the extra ``wfst``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(
            f"decoding graphs need the package {name}, which is not installed",
            remedy="install the extra wfst: pip install 'peephole-asr[wfst]'",
        ) from None
