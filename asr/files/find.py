"""Which recordings are meant: files, folders, standard input."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.files.read import STDIN
from asr.types import AudioError

__all__ = ["Source", "files_below", "find_audio", "has_audio", "is_audio_name", "sources_of"]

# In folders alone; a file that is named may be called anything.
SUFFIXES = (
    *(".wav", ".wave", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".sph", ".nist"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".mp3", ".m4a", ".mp4", ".mov", ".aac"),
    *(".webm", ".weba", ".mka", ".mkv"),
)
RAW_SUFFIXES = (".raw", ".pcm", ".ul", ".ulaw", ".mulaw", ".al", ".alaw")


@dataclass(frozen=True)
class Source:
    """One piece of audio: its ``path`` as given, and ``name``, which files of results about it are
    to have: without suffix, and with the folders between it and the folder that was given.
    """

    path: str
    name: str


def find_audio(paths: Sequence[str], *, raw: bool = False) -> list[Source]:
    """The files of ``paths`` in their order; in place of a folder, the audio files in it and below
    it, sorted. ``raw``: they are raw samples. ``-`` is standard input.

    Raises:
        AudioError: a folder without audio files, or standard input beside others.
    """
    if STDIN in paths and len(paths) > 1:
        raise AudioError("standard input (-) has to be the only input")
    suffixes = RAW_SUFFIXES if raw else SUFFIXES
    sources: list[Source] = []
    for path in paths:
        if os.path.isdir(path):
            sources += _sources_below(path, suffixes)
        else:
            sources += sources_of([path])
    return sources


def is_audio_name(name: str) -> bool:
    """Whether a file of that name is taken for a recording where it was not named by itself."""
    return name.lower().endswith(SUFFIXES)


def sources_of(files: Sequence[str]) -> list[Source]:
    """Files, each named by its own name."""
    return [Source(file, "stdin" if file == STDIN else Path(file).stem) for file in files]


def _sources_below(folder: str, suffixes: Sequence[str]) -> list[Source]:
    found = [
        Source(str(file), str(file.relative_to(folder).with_suffix("")))
        for file in sorted(_audio_below(folder, suffixes))
    ]
    if not found:
        raise AudioError("no audio files in this folder", where=folder, remedy=", ".join(suffixes))
    return found


def has_audio(folder: str) -> bool:
    """Whether a recording is in or below ``folder``.

    Raises:
        AudioError: a folder cannot be read.
    """
    return any(True for _ in _audio_below(folder, SUFFIXES))


def _audio_below(folder: str, suffixes: Sequence[str]) -> Iterator[Path]:
    """Hidden files and folders are no one's recordings."""
    try:
        for file in files_below(Path(folder)):
            if file.name.lower().endswith(tuple(suffixes)):
                yield file
    except OSError as error:
        raise AudioError(
            f"the folder cannot be read: {error.strerror}", where=str(error.filename)
        ) from None


def files_below(folder: Path) -> Iterator[Path]:
    """All files, in order, through links too; hidden ones are left out.

    Raises:
        OSError: a folder cannot be read.
    """
    seen = set()
    for root, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        place = os.path.realpath(root)
        if place in seen:  # a link to where we have been
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in sorted(names) if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error
