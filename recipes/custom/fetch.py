"""Recordings that are no files yet, written into the data folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from rich.console import Console
from rich.progress import track

from asr.files.write import write_bytes
from asr.types import AsrError, CorpusError
from recipes.common.corpus import LeftOut
from recipes.custom.entries import Entry, Made

__all__ = ["fetched"]

FOLDER = "audio"


def fetched(entries: Sequence[Entry], data: Path) -> tuple[list[Entry], list[LeftOut]]:
    """Entries whose recordings are files, and those whose recordings cannot be made.

    A recording of several entries is made once. Nothing is overwritten: a file of the same name
    with other content stays, since it may be what the recording is made from.

    Raises:
        CorpusError: the disk refuses.
    """
    wanted = {entry.audio.where: entry.audio for entry in entries if isinstance(entry.audio, Made)}
    made: dict[str, Path | AsrError] = {}
    names: set[str] = set()
    for where, audio in track(
        wanted.items(), description="fetching", console=Console(stderr=True), transient=True
    ):
        made[where] = _make(audio, data / FOLDER, names)
    found, bad = [], []
    for entry in entries:
        audio = made[entry.audio.where] if isinstance(entry.audio, Made) else entry.audio
        if isinstance(audio, AsrError):
            where = audio.where or entry.where
            bad.append(LeftOut(entry.id or entry.recording, where, audio.public_message()))
        else:
            found.append(replace(entry, audio=audio))
    return found, bad


def _names(name: str) -> Iterator[str]:
    """Names for a file; recordings of several corpora may be called alike."""
    path = Path(re.sub(r"[^\w.-]", "_", name))
    yield path.name
    for number in count(2):
        yield f"{path.stem}-{number}{path.suffix}"


def _make(audio: Made, folder: Path, taken: set[str]) -> Path | AsrError:
    """Write a recording to a name that is not ``taken``, which it then is."""
    try:
        data = audio.make()
    except AsrError as error:
        return error
    path = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _names(audio.name):
            path = folder / name
            if name not in taken and (not path.exists() or _has(path, data)):
                break
        taken.add(path.name)
        if not path.exists():
            write_bytes(path, data)
    except OSError as error:
        raise CorpusError(
            f"cannot write: {error.strerror}",
            where=str(path),
            remedy="check the folder and the space left",
        ) from None
    return path


def _has(path: Path, data: bytes) -> bool:
    """Whether a file holds ``data``."""
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data
