"""Packages that only some installations have."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from asr.types import MissingPackageError

__all__ = ["import_extra"]


def import_extra(package: str, extra: str, purpose: str) -> Any:
    """The package called ``package``, one of those of ``extra``; ``purpose`` is who needs it.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # a fault of the package's own
            raise
        raise MissingPackageError(
            f"{purpose} need the package {package}, which is not installed",
            remedy=f"install the extra {extra}: pip install 'peephole-asr[{extra}]'",
        ) from None
