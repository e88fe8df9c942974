"""The model that comes with the toolkit, in a checkout, an installed wheel and the images."""

from __future__ import annotations

from pathlib import Path

import asr
from asr.bundle.contents import CONFIG, TOKENS, WEIGHTS
from asr.files.read import read_lines
from asr.types import BundleError

__all__ = ["looks_like_bundle", "read_samples", "shipped_bundle"]

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


def read_samples(bundle: Path) -> dict[str, str]:
    """The sample speech of the bundle that ships: texts by file.

    Raises:
        BundleError: the list of them is missing or broken.
    """
    listed = bundle / "samples" / "samples.tsv"
    samples = {}
    for where, line in read_lines(listed, BundleError, remedy="install the toolkit again"):
        file, tab, text = line.partition("\t")
        if not tab:
            raise BundleError("not a file, a tab and its text", where=where)
        samples[str(listed.parent / file)] = text.strip()
    return samples


def looks_like_bundle(folder: Path) -> bool:
    """Whether ``folder`` holds a file that bundles have, and so is meant as one."""
    return any((folder / name).is_file() for name in (CONFIG, WEIGHTS, TOKENS))
