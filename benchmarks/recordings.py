"""A bundle and recordings on a benchmark's command line: by default those that ship."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from asr.bundle.shipped import read_samples, shipped_bundle
from asr.files.find import find_audio

__all__ = ["add_bundle_and_files", "chosen_files"]


def add_bundle_and_files(parser: ArgumentParser) -> None:
    """Add ``bundle`` and ``files``."""
    parser.add_argument("bundle", nargs="?", default=str(shipped_bundle()))
    parser.add_argument("files", nargs="*", help="files or folders (default: the shipped samples)")


def chosen_files(options: Namespace) -> list[str]:
    """The recordings that the command line asks for."""
    if options.files:
        return [source.path for source in find_audio(options.files)]
    return list(read_samples(shipped_bundle()))
