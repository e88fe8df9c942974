"""Recordings that are no files yet, written into the data folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
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

    A recording of several entries is made once.

    Raises:
        CorpusError: the disk refuses.
    """
    wanted = {entry.audio.where: entry.audio for entry in entries if isinstance(entry.audio, Made)}
    made: dict[str, Path | AsrError] = {}
    names: set[str] = set()
    for where, audio in track(
        wanted.items(), description="fetching", console=Console(stderr=True), transient=True
    ):
        name = _free_name(audio.name, names)
        names.add(name)
        made[where] = _make(audio, data / FOLDER / name)
    found, bad = [], []
    for entry in entries:
        audio = made[entry.audio.where] if isinstance(entry.audio, Made) else entry.audio
        if isinstance(audio, AsrError):
            where = audio.where or entry.where
            bad.append(LeftOut(entry.id or entry.recording, where, audio.public_message()))
        else:
            found.append(replace(entry, audio=audio))
    return found, bad


def _free_name(name: str, taken: set[str]) -> str:
    """A name for a file; recordings of several corpora may be called alike."""
    path = Path(re.sub(r"[^\w.-]", "_", name))
    number, free = 1, path.name
    while free in taken:
        number += 1
        free = f"{path.stem}-{number}{path.suffix}"
    return free


def _make(audio: Made, path: Path) -> Path | AsrError:
    try:
        data = audio.make()
    except AsrError as error:
        return error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)
    except OSError as error:
        raise CorpusError(
            f"cannot write: {error.strerror}",
            where=str(path),
            remedy="check the folder and the space left",
        ) from None
    return path
