"""LibriSpeech in OpenSLR's layout.

    train-clean-5/1088/134315/1088-134315.trans.txt    1088-134315-0000 AS YOU KNOW ...
    train-clean-5/1088/134315/1088-134315-0000.flac

The speaker is what stands before the first hyphen of an utterance's id.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from asr.files.read import Line, read_lines
from asr.types import CorpusError
from recipes.common.manifests import Utterance
from recipes.common.texts import normalise

__all__ = ["SPLITS", "TITLE", "utterances"]

TITLE = "LibriSpeech"
SPLITS = ("train", "dev", "test")
TRANSCRIPT, AUDIO = ".trans.txt", ".flac"
REMEDY = "restore the archives"


def utterances(corpus: Path, split: str) -> list[Utterance]:
    """Return all subsets whose names begin with ``split`` (train-clean-5, dev-clean, …).

    Raises:
        CorpusError: the folder or the split's subsets are missing, or one has no utterances, or
            audio without text or text without audio, or an id twice.
    """
    if split not in SPLITS:
        raise CorpusError(f"unknown split {split!r}", remedy=f"choose {', '.join(SPLITS)}")
    folders = sorted(p for p in corpus.glob(f"{split}-*") if p.is_dir())
    if not folders:
        raise CorpusError(
            f"no subset {split}-* here",
            where=str(corpus),
            remedy="give the folder that holds train-clean-5, dev-clean and the like",
        )
    found = [utterance for folder in folders for utterance in _subset(folder)]
    if not found:
        raise CorpusError("no utterances in the subsets", where=str(corpus))
    return sorted(found, key=lambda utterance: utterance.id)


def _subset(folder: Path) -> list[Utterance]:
    files = list(_files(folder))
    audio = {normalise(path.stem): path for path in files if path.suffix == AUDIO}
    lines = _lines([path for path in files if path.name.endswith(TRANSCRIPT)])
    if untold := audio.keys() - lines.keys():
        raise CorpusError(
            f"no text for {len(untold)} utterances, {min(untold)} the first",
            where=str(audio[min(untold)].parent),
            remedy=REMEDY,
        )
    if silent := lines.keys() - audio.keys():
        raise CorpusError(
            f"no audio for {len(silent)} utterances, {min(silent)} the first",
            where=lines[min(silent)].where,
            remedy=REMEDY,
        )
    return [
        Utterance(name, audio[name], line.text, name.partition("-")[0])
        for name, line in lines.items()
    ]


def _files(folder: Path) -> Iterator[Path]:
    """The files below ``folder``, in order, through links too; hidden ones are left out.

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
        folders.sort()
        yield from (Path(root, name) for name in sorted(names) if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error


def _lines(transcripts: list[Path]) -> dict[str, Line]:
    """The text of each id, with its place."""
    lines: dict[str, Line] = {}
    for path in transcripts:
        for line in read_lines(path, CorpusError, remedy=REMEDY):
            name, *rest = line.text.split(maxsplit=1)
            name, text = normalise(name), "".join(rest)
            if not normalise(text):
                raise CorpusError(f"no text for {name}", where=line.where, remedy=REMEDY)
            if name in lines:
                raise CorpusError(
                    f"{name} stands at {lines[name].where} too",
                    where=line.where,
                    remedy="keep one of them",
                )
            lines[name] = Line(line.where, text)
    return lines
