"""TIMIT as LDC publishes it, or its free sample of 16 speakers.

    TRAIN/DR1/FCJF0/SX37.WAV with SX37.PHN beside it (any case)
    dr1-fvmh0/sx26.wav with sx26.phn beside it (the sample)

The sentences SA1 and SA2, which every speaker reads, are left out, as is usual. The published
protocol: train on the training part, develop on 50 speakers of the test part, test on its 24 core
speakers. The sample has no test part: fixed speakers are held out of it.
"""

from __future__ import annotations

import re
from pathlib import Path

from asr.files.read import read_lines
from asr.types import CorpusError
from recipes.common.manifests import Utterance
from recipes.common.texts import normalise
from recipes.timit.phones import fold48

__all__ = ["SPLITS", "TITLE", "timed_phones", "utterances"]

TITLE = "TIMIT"
SPLITS = ("train", "dev", "test")
SAMPLE_RATE = 16_000  # of the times in .phn files, in hertz

# The core test set, from TIMIT's own documentation (TESTSET.DOC).
CORE_TEST = frozenset(
    (
        "mdab0 mwbt0 felc0 mtas1 mwew0 fpas0 mjmp0 mlnt0 fpkt0 mlll0 mtls0 fjlm0 mbpm0 mklt0 "
        "fnlp0 mcmj0 mjdh0 fmgd0 mgrt0 mnjm0 fdhc0 mjln0 mpam0 fmld0"
    ).split()
)
# The development set of Halberstadt (1998), as in Kaldi's recipe for TIMIT.
DEVELOPMENT = frozenset(
    (
        "faks0 fdac1 fjem0 mgwt0 mjar0 mmdb1 mmdm2 mpdf0 fcmh0 fkms0 mbdg0 mbwm0 mcsh0 fadg0 "
        "fdms0 fedw0 mgjf0 mglb0 mrtk0 mtaa0 mtdt0 mthc0 mwjg0 fnmr0 frew0 fsem0 mbns0 mmjr0 "
        "mdls0 mdlf0 mdvc0 mers0 fmah0 fdrw0 mrcs0 mrjm4 fcal1 mmwh0 fjsj0 majc0 mjsw0 mreb0 "
        "fgjd0 fjmg0 mroa0 mteb0 mjfc0 mrjr0 fmml0 mrws1"
    ).split()
)
# Held out of the free sample, women and men of different regions.
SAMPLE_DEV = frozenset({"falk0", "mbma1", "madd0"})
SAMPLE_TEST = frozenset({"ftlg0", "mbcg0", "marc0"})

SAMPLE_FOLDER = re.compile(r"dr[1-8]-[fm][a-z]{3}\d", re.IGNORECASE)
SENTENCE = re.compile(r"(s[ix])\d+$", re.IGNORECASE)


def utterances(corpus: Path, split: str) -> list[Utterance]:
    """Return a split with its phones, 48 classes, as text.

    Raises:
        CorpusError: neither layout is there, the split is unknown, or a file is missing or broken.
    """
    if split not in SPLITS:
        raise CorpusError(f"unknown split {split!r}", remedy=f"choose {', '.join(SPLITS)}")
    if not corpus.is_dir():
        raise CorpusError("no such folder", where=str(corpus), remedy="give the folder of TIMIT")
    folders = _sample_speakers(corpus, split) or _ldc_speakers(corpus, split)
    found = [u for speaker, folder in folders for u in _speaker(speaker, folder)]
    if not found:
        raise CorpusError(
            f"no sentences of TIMIT's {split} part",
            where=str(corpus),
            remedy="give the folder that holds TRAIN and TEST, or dr1-fvmh0 and the like",
        )
    return sorted(found, key=lambda utterance: utterance.id)


def _sample_speakers(corpus: Path, split: str) -> list[tuple[str, Path]]:
    chosen = []
    for folder in sorted(corpus.iterdir()):
        if folder.is_dir() and SAMPLE_FOLDER.fullmatch(folder.name):
            name = folder.name.lower().split("-")[1]
            held = "dev" if name in SAMPLE_DEV else "test" if name in SAMPLE_TEST else "train"
            if held == split:
                chosen.append((name, folder))
    return chosen


def _ldc_speakers(corpus: Path, split: str) -> list[tuple[str, Path]]:
    part = _child(corpus, "train" if split == "train" else "test")
    if part is None or not part.is_dir():
        return []
    speakers = [
        (folder.name.lower(), folder)
        for region in sorted(part.iterdir())
        if region.is_dir()
        for folder in sorted(region.iterdir())
        if folder.is_dir()
    ]
    if split == "train":
        return speakers
    wanted = DEVELOPMENT if split == "dev" else CORE_TEST
    return [(name, folder) for name, folder in speakers if name in wanted]


def _child(folder: Path, name: str) -> Path | None:
    return next((p for p in sorted(folder.iterdir()) if p.name.lower() == name), None)


def _speaker(name: str, folder: Path) -> list[Utterance]:
    found = []
    files = {path.name.lower(): path for path in folder.iterdir()}
    split_names = [name.partition(".") for name in files]
    stems = {stem for stem, _, suffix in split_names if suffix in ("phn", "wav", "flac")}
    for stem in sorted(stem for stem in stems if SENTENCE.match(stem)):
        phones = files.get(f"{stem}.phn")
        audio = files.get(f"{stem}.wav") or files.get(f"{stem}.flac")
        if audio is None or phones is None:
            raise CorpusError(
                f"no {'audio' if audio is None else 'phones (.phn)'} for sentence {stem}",
                where=str(folder),
                remedy="restore the corpus",
            )
        text = " ".join(name for name, _, _ in timed_phones(phones))
        found.append(Utterance(f"{name}-{stem}", audio, text, name))
    return found


def timed_phones(path: Path) -> list[tuple[str, float, float]]:
    """The 48-class phones of a ``.phn`` file with start and end in seconds; q is left out.

    Raises:
        CorpusError: the file is missing or broken.
    """
    return [
        (name, int(start) / SAMPLE_RATE, int(end) / SAMPLE_RATE)
        for start, end, phone in _rows(path)
        for name in fold48([phone])
    ]


def _rows(path: Path) -> list[list[str]]:
    """The lines of a ``.phn`` file: first sample, end sample, phone."""
    remedy = "restore the corpus"
    rows = []
    for line in read_lines(path, CorpusError, remedy=remedy):
        row = normalise(line.text).split()
        if len(row) != 3 or not (row[0] + row[1]).isdecimal():
            raise CorpusError("not 'begin end phone'", where=line.where, remedy=remedy)
        try:
            fold48(row[2:])
        except CorpusError as error:
            raise error.at(line.where) from None
        rows.append(row)
    if not rows:
        raise CorpusError("no phones", where=str(path), remedy=remedy)
    return rows
