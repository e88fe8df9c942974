"""The model that comes with the toolkit, in a checkout, an installed wheel and the images."""

from __future__ import annotations

from pathlib import Path

import asr
from asr.bundle.contents import CONFIG, TOKENS, WEIGHTS
from asr.types import BundleError

__all__ = ["looks_like_bundle", "shipped_bundle"]

NAME = "english"
PACKAGE = Path(asr.__file__).parent
PLACES = (PACKAGE / "models", PACKAGE.parent / "models")  # of a wheel, of a checkout


def shipped_bundle() -> Path:
    """The folder of the bundle that is used where none is named.

    Raises:
        BundleError: none has come with this installation.
    """
    for place in PLACES:
        if (place / NAME / CONFIG).is_file():
            return place / NAME
    raise BundleError(
        "no model is named, and none has come with this installation",
        remedy="name a bundle, which a recipe's export writes",
    )


def looks_like_bundle(folder: Path) -> bool:
    """Whether ``folder`` holds a file that bundles have, and so is meant as one."""
    return any((folder / name).is_file() for name in (CONFIG, WEIGHTS, TOKENS))
