"""Which model a command uses: the bundle that is named first, or the one that ships."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from asr.cli.starting import starting
from asr.files.find import has_audio, is_audio_name
from asr.files.read import STDIN
from asr.types import ConfigError

__all__ = ["add_bundle", "with_bundle"]

Run = Callable[[argparse.Namespace], int]


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the argument; ``options.files`` has to follow it."""
    parser.add_argument(
        "bundle",
        metavar="BUNDLE",
        nargs="?",
        help="folder of the model bundle (default: the model that comes with the toolkit)",
    )


def with_bundle(run: Run) -> Run:
    """``run`` with ``options.bundle`` and ``options.files`` told apart.

    What stands first is a recording if it is a file or a pipe or has a recording's name, and a
    folder of them if there are some in it; otherwise it is meant as a bundle.

    Raises:
        ConfigError: neither a bundle nor audio is named, or what is named alone is neither.
        BundleError: no bundle is named, and none ships with this installation.
    """

    def settled(options: argparse.Namespace) -> int:
        with starting():
            from asr.bundle.shipped import shipped_bundle

        if options.bundle is not None and _is_recording(options.bundle):
            options.files = [options.bundle, *options.files]
            options.bundle = None
        is_alone = not options.files and getattr(options, "pairs", None) is None
        if options.bundle is not None and is_alone:
            _check_bundle(options.bundle)
        if options.bundle is None:
            if is_alone:
                raise ConfigError("no audio is named", remedy="give FILEs; --help says more")
            options.bundle = str(shipped_bundle())
        return run(options)

    return settled


def _is_recording(path: str) -> bool:
    from asr.bundle.shipped import looks_like_bundle

    place = Path(path)
    if not place.is_dir():
        return path == STDIN or is_audio_name(path) or place.exists()
    return not looks_like_bundle(place) and has_audio(path)


def _check_bundle(path: str) -> None:
    """Say of what is named alone that it is no bundle, rather than that no audio is named."""
    from asr.bundle.shipped import looks_like_bundle

    place = Path(path)
    if not path or not place.exists():
        raise ConfigError(f"no such file or folder: {path!r}", remedy="check the name")
    if not looks_like_bundle(place):
        raise ConfigError(
            "neither a bundle nor a folder of recordings is there",
            where=path,
            remedy="name recordings one by one where their suffix does not tell that they are",
        )
