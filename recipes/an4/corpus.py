"""CMU AN4 in its published layout: census answers, spelled names and numbers, 16 kHz.

    etc/an4_train.fileids         an4_clstk/fash/an251-fash-b
    etc/an4_train.transcription   <s> YES </s> (an251-fash-b)
    wav/an4_clstk/fash/an251-fash-b.flac   (or .wav, .sph, .raw)

The official split has no development part. Every eighth speaker of the training part, counted
separately among women (names in f) and men (in m), is held out for development; the rest trains.
Beginning to count at another speaker gives another of eight folds: each speaker is in one.
"""

from __future__ import annotations

import re
from pathlib import Path
from unicodedata import normalize

import numpy as np

from asr.files.read import read_text
from asr.types import CorpusError
from recipes.common.manifests import Utterance
from recipes.common.texts import normalise

__all__ = ["FOLDS", "SPLITS", "TITLE", "official", "utterances"]

TITLE = "CMU AN4"
SPLITS = ("train", "dev", "test")
SUFFIXES = (".flac", ".wav", ".sph", ".raw")
FOLDS = 8  # one speaker in so many is held out
LINE = re.compile(r"^(?:<s>)?\s*(.*?)\s*(?:</s>)?\s*\(([^()]+)\)$")


def utterances(corpus: Path, split: str, fold: int = 0) -> list[Utterance]:
    """Return the utterances of ``train``, ``dev`` (both of the official train) or ``test``.

    ``fold``, 0 to 7, chooses the speakers who are held out.

    Raises:
        CorpusError: the folder is not laid out as above, or the split is unknown.
    """
    if split not in SPLITS:
        raise CorpusError(f"unknown split {split!r}", remedy=f"choose {', '.join(SPLITS)}")
    part = "test" if split == "test" else "train"
    found = official(corpus, part)
    for utterance in found:
        if utterance.speaker is None:
            raise CorpusError(
                f"no speaker's folder of {utterance.id}",
                where=str(corpus / "etc" / f"an4_{part}.fileids"),
                remedy="write folder/speaker/name, or use recipes.custom",
            )
    if split == "test":
        return found
    held_out = _held_out({utterance.speaker for utterance in found}, fold)
    return [u for u in found if (u.speaker in held_out) == (split == "dev")]


def _held_out(speakers: set[str], fold: int) -> set[str]:
    """Speakers for development: by sex, where all names begin with f or m as in AN4.

    Raises:
        CorpusError: one speaker alone cannot both train and be held out.
    """
    if len(speakers) < 2:
        raise CorpusError(
            f"only one speaker, {', '.join(speakers)}",
            remedy="give each a folder of their own; recipes.custom takes one speaker too",
        )
    by_sex = {name[0] for name in speakers} == {"f", "m"}
    groups = [[n for n in speakers if n[0] == sex] for sex in "fm"] if by_sex else [speakers]
    held_out = {name for group in groups for name in sorted(group)[fold::FOLDS]}
    # Of a few speakers a fold may hold none or all.
    return held_out if set() < held_out < speakers else {sorted(speakers)[fold % len(speakers)]}


def official(corpus: Path, part: str, name: str = "an4") -> list[Utterance]:
    """The utterances of ``train`` or ``test`` of the corpus called ``name``, as it is published.

    Raises:
        CorpusError: the folder is not laid out as above.
    """
    lists = corpus / "etc" / f"{name}_{part}.fileids"
    ids = _lines(lists)
    transcription = lists.with_suffix(".transcription")
    texts = _texts(transcription)
    if not ids:
        raise CorpusError(
            "no utterances are listed",
            where=str(lists),
            remedy="restore the file from the published archive",
        )
    found = []
    for row, file_id in ids:
        utterance = normalise(file_id.rsplit("/", 1)[-1])
        if utterance not in texts:
            raise CorpusError(
                f"no transcription for {file_id}, row {row} of the fileids",
                where=str(transcription),
                remedy="restore the file from the published archive",
            )
        audio = _audio(corpus / "wav", file_id)
        order = _byte_order(audio) if audio.suffix == ".raw" else "little"
        speaker = Path(file_id).parent.name or None
        found.append(Utterance(utterance, audio, texts[utterance], speaker, order))
    return sorted(found, key=lambda utterance: utterance.id)


def _lines(path: Path) -> list[tuple[int, str]]:
    remedy = "give the folder of AN4 that holds etc/ and wav/"
    lines = read_text(path, CorpusError, remedy=remedy).split("\n")
    return [(row, line.strip()) for row, line in enumerate(lines, start=1) if normalise(line)]


def _texts(path: Path) -> dict[str, str]:
    """Return the text of each id."""
    texts: dict[str, str] = {}
    for row, line in _lines(path):
        name, text = _parse(path, row, line)
        if normalise(texts.setdefault(name, text)) != normalise(text):
            raise CorpusError(
                f"row {row} gives {name} another text than a row before",
                where=str(path),
                remedy="keep one of them",
            )
    return texts


def _parse(path: Path, row: int, line: str) -> tuple[str, str]:
    """Return the id and the text of a line."""
    match = LINE.match(line) or LINE.match(normalise(line))
    if match is None:
        raise CorpusError(
            f"row {row} is not '<s> TEXT </s> (id)': {line!r}",
            where=str(path),
            remedy="restore the file from the published archive",
        )
    return normalise(match.group(2)), match.group(1)


def _audio(folder: Path, file_id: str) -> Path:
    # Disks of Apple's spell names as NFD.
    for name in dict.fromkeys([file_id, normalise(file_id), normalize("NFD", file_id)]):
        for suffix in SUFFIXES:
            path = folder / f"{name}{suffix}"
            if path.is_file():
                return path
    raise CorpusError(
        f"no audio for {file_id}",
        where=str(folder),
        remedy=f"it should be there as {', '.join(SUFFIXES)}",
    )


def _byte_order(path: Path) -> str:
    """The order in which headerless samples make the quieter signal: noise is what the wrong gives.

    AN4 was published in both orders.
    """
    data = path.read_bytes()
    data = data[: len(data) // 2 * 2]

    def roughness(kind: str) -> float:
        return float(np.abs(np.diff(np.frombuffer(data, kind).astype(np.float64))).sum())

    return "little" if roughness("<i2") <= roughness(">i2") else "big"
