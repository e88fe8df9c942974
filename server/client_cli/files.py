"""Which audio `asr-client` is asked to transcribe: files, folders, standard input."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.client import ClientError

__all__ = ["STDIN", "Source", "find_sources"]

STDIN = "-"
# In folders alone; a file that is named may be called anything.
SUFFIXES = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".sph", ".nist")
RAW_SUFFIXES = (".raw", ".pcm", ".ul", ".ulaw", ".mulaw", ".al", ".alaw")


@dataclass(frozen=True)
class Source:
    """One piece of audio: its ``path`` as given, and ``name``, which subtitles of it are to have:
    without suffix, and with the folders between it and the folder that was given.
    """

    path: str
    name: str


def find_sources(paths: Sequence[str], *, raw: bool) -> list[Source]:
    """The files of ``paths`` in their order; in place of a folder, the audio files in it and below
    it, sorted. ``raw``: they are raw samples.

    Raises:
        ClientError: a folder without audio files, or standard input beside others.
    """
    if STDIN in paths:
        if len(paths) > 1:
            raise ClientError("standard input (-) has to be the only input")
        return [Source(STDIN, "stdin")]
    suffixes = RAW_SUFFIXES if raw else SUFFIXES
    sources: list[Source] = []
    for path in paths:
        if os.path.isdir(path):
            found = [
                Source(str(file), str(file.relative_to(path).with_suffix("")))
                for file in sorted(_audio_below(path, suffixes))
            ]
            if not found:
                raise ClientError(f"{path}: no audio files in this folder ({', '.join(suffixes)})")
            sources += found
        else:
            sources.append(Source(path, Path(path).stem))
    return sources


def _audio_below(folder: str, suffixes: Sequence[str]) -> Iterator[Path]:
    """Hidden files and folders are no one's recordings."""

    def complain(error: OSError) -> None:
        raise ClientError(f"{error.filename}: the folder cannot be read: {error.strerror}")

    for parent, folders, files in os.walk(folder, onerror=complain):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(tuple(suffixes)) and not name.startswith("."):
                yield Path(parent, name)
