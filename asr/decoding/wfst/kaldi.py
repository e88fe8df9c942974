"""The optional packages that graphs are made and searched with."""

from __future__ import annotations

from typing import Any

from asr.extras import import_extra

__all__ = ["kaldi"]


def kaldi(name: str) -> Any:
    """The package called ``name``, one of those of the extra ``wfst``.

    Raises:
        MissingPackageError: it is not installed.
    """
    return import_extra(name, "wfst", "decoding graphs")
