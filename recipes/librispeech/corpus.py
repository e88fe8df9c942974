"""LibriSpeech in OpenSLR's layout.

    train-clean-5/1088/134315/1088-134315.trans.txt    1088-134315-0000 AS YOU KNOW ...
    train-clean-5/1088/134315/1088-134315-0000.flac

The speaker is what stands before the first hyphen of an utterance's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asr.files.find import files_below
from asr.files.read import Line, read_lines
from asr.types import CorpusError
from recipes.common.manifests import Utterance
from recipes.common.texts import normalise

__all__ = ["SPLITS", "SUBSET", "TITLE", "found_subsets", "subsets", "utterances"]

TITLE = "LibriSpeech"
SPLITS = ("train", "dev", "test")
TRANSCRIPT, AUDIO = ".trans.txt", ".flac"
SUBSET = "subset"  # the field of an utterance that says which one it is from
REMEDY = "restore the archives"
FOLDER = "give the folder that holds train-clean-5, dev-clean and the like"


def utterances(corpus: Path, split: str) -> list[Utterance]:
    """Return the subset ``split``, or, for train, dev and test, all subsets of it that are there.

    Raises:
        CorpusError: see :func:`subsets`.
    """
    if split not in SPLITS:
        return subsets(corpus, [split])
    names = found_subsets(corpus, split)
    if not names:
        raise CorpusError(f"no subset {split}-* here", where=str(corpus), remedy=FOLDER)
    return subsets(corpus, names)


def found_subsets(corpus: Path, split: str) -> list[str]:
    """The subsets of a split that are there: train-clean-5, train-other-500, …"""
    return sorted(path.name for path in corpus.glob(f"{split}-*") if path.is_dir())


def subsets(corpus: Path, names: Sequence[str]) -> list[Utterance]:
    """Return the utterances of all subsets ``names``, sorted; each knows its subset by a field.

    Raises:
        CorpusError: a subset is missing or has no utterances, or audio without text or text without
            audio, or an id is there twice.
    """
    found: dict[str, Utterance] = {}
    for name in names:
        folder = corpus / name
        if not folder.is_dir():
            raise CorpusError(f"no subset {name!r} here", where=str(corpus), remedy=_offer(corpus))
        read = _subset(folder)
        if not read:
            raise CorpusError("no utterances in the subset", where=str(folder), remedy=REMEDY)
        for utterance in read:
            if utterance.id in found:
                other = found[utterance.id].fields[SUBSET]
                raise CorpusError(
                    f"{utterance.id} is in both {other} and {name}: one is a part of the other",
                    where=str(corpus),
                    remedy=f"name the subsets to use, such as --train {name}",
                )
            found[utterance.id] = utterance
    return sorted(found.values(), key=lambda utterance: utterance.id)


def _offer(corpus: Path) -> str:
    """The remedy where a subset is not there."""
    here = [name for split in SPLITS for name in found_subsets(corpus, split)]
    return f"choose of {', '.join(here)}, or `download` it" if here else FOLDER


def _subset(folder: Path) -> list[Utterance]:
    files = list(files_below(folder))
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
        Utterance(
            name,
            audio[name],
            line.text,
            name.partition("-")[0],
            fields={SUBSET: folder.name},
        )
        for name, line in lines.items()
    ]


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
