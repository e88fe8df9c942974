"""What commands have in common that learn from recordings whose texts are known."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.results import inputs_of
from asr.files.write import check_target, check_writable
from asr.options import BATCH_SECONDS
from asr.types import ConfigError

if TYPE_CHECKING:
    from asr.cli.segments import Segment

__all__ = ["add_known_texts", "check_outputs", "none_usable", "output_bundle"]


def add_known_texts(parser: argparse.ArgumentParser, picture: str) -> None:
    """Give ``parser`` the options of recordings, of the bundle, and of a ``picture``: what of."""
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of the model bundle")
    parser.add_argument(
        "--pairs", metavar="TSV", required=True, help="lines of an audio file, a tab and its text"
    )
    parser.add_argument("--output", metavar="BUNDLE", help="bundle to write (default: the same)")
    parser.add_argument("--dry-run", action="store_true", help="write no bundle")
    parser.add_argument("--picture", metavar="PNG", help=f"draw {picture}")
    parser.add_argument(
        "--batch-seconds",
        type=float,
        default=BATCH_SECONDS,
        metavar="S",
        help="audio computed at once",
    )


def output_bundle(options: argparse.Namespace) -> Path:
    """Where the bundle goes."""
    return Path(options.output or options.bundle)


def none_usable(segments: Sequence[Segment]) -> ConfigError:
    """What to raise where every recording was named as one that cannot be used."""
    return ConfigError(
        f"none of {len(segments)} recordings can be used",
        where=segments[0].audio,
        remedy="mend what the lines above say",
    )


def check_outputs(options: argparse.Namespace, segments: Sequence[Segment]) -> None:
    """Refuse what could not be written, before the work rather than after it.

    Raises:
        BundleError: something other than a bundle stands in the bundle's place.
        ConfigError: the picture has no place, an input would be replaced, or nothing can be written
            there.
    """
    from asr.bundle.save import check_place
    from asr.plots import check_picture_path

    inputs = [*inputs_of(options), *(segment.audio for segment in segments)]
    if options.picture is not None:
        check_picture_path(options.picture)
        check_target(options.picture, inputs)
    if not options.dry_run:
        target = output_bundle(options)
        check_place(target.absolute(), options.bundle)
        real = os.path.realpath(target)
        if real != os.path.realpath(options.bundle):  # which it is asked to change
            check_target(target, inputs)
        places = (target.absolute(), *target.absolute().parents)  # folders are made for a bundle
        check_writable(next(place for place in places if place.parent.is_dir()))
        if options.picture is not None and real == os.path.realpath(Path(options.picture).parent):
            raise ConfigError(
                "the picture would stand in the bundle",
                where=options.picture,
                remedy="give it another folder",
            )
