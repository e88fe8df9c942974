"""TIMIT as LDC publishes it, or its free sample of 16 speakers.

    TRAIN/DR1/FCJF0/SX37.WAV with SX37.PHN beside it (any case; SX37.WAV.wav, a copy, as well)
    dr1-fvmh0/sx26.wav with sx26.phn beside it (the sample)

The sentences SA1 and SA2, which every speaker reads, are left out, as is usual. The published
protocol: train on the training part, develop on 50 speakers of the test part, test on its 24 core
speakers or on all of its 168. The sample has no test part: fixed speakers are held out of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.files.read import read_lines
from asr.types import CorpusError
from recipes.common.manifests import Utterance
from recipes.common.texts import normalise
from recipes.timit.phones import PHONES, fold

__all__ = [
    "SPLITS",
    "TITLE",
    "Reading",
    "is_of_sample",
    "phones_beside",
    "splits_of",
    "timed_phones",
    "utterances",
]

TITLE = "TIMIT"
SPLITS = ("train", "dev", "test", "test-complete")
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
DRAWN = 0.05  # of the training speakers, where they develop: Graves et al. (2006) took 184 of 3,696
# Held out of the free sample, women and men of different regions.
SAMPLE_DEV = frozenset({"falk0", "mbma1", "madd0"})
SAMPLE_TEST = frozenset({"ftlg0", "mbcg0", "marc0"})

SAMPLE_FOLDER = re.compile(r"dr[1-8]-[fm][a-z]{3}\d", re.IGNORECASE)
SENTENCE = re.compile(r"s[ix]\d+$")
SENTENCE_OR_SA = re.compile(r"s[aix]\d+$")
# Preferred first: a copy beside a file is there because the file cannot be read everywhere.
AUDIO = ("wav.wav", "wav", "flac", "sph")
WITHIN = ("timit", "data")  # folders in which copies hide TRAIN and TEST

Speaker = tuple[str, Path]  # name, folder


@dataclass(frozen=True)
class Reading:
    """How the corpus is read.

    Attributes:
        labels: the set of phones, 61, 48 or 39.
        dev: ``"test"`` for the 50 speakers of the test part, ``"train"`` for 5 % of the training
            part's speakers, who then do not train.
        keep_sa: with the sentences SA1 and SA2.
    """

    labels: int = 48
    dev: str = "test"
    keep_sa: bool = False

    def utterances(self, corpus: Path, split: str) -> list[Utterance]:
        """Return a split with its phones as text.

        Raises:
            CorpusError: neither layout is there, the split is unknown, or a file is missing or
                broken.
        """
        if split not in SPLITS:
            raise CorpusError(f"unknown split {split!r}", remedy=f"choose {', '.join(SPLITS)}")
        _check_folder(corpus)
        found = [u for speaker in self._speakers(corpus, split) for u in self._sentences(*speaker)]
        if not found:
            raise CorpusError(
                f"no sentences of TIMIT's {split} part",
                where=str(corpus),
                remedy="give the folder that holds TRAIN and TEST, or dr1-fvmh0 and the like",
            )
        return sorted(found, key=lambda utterance: utterance.id)

    def _speakers(self, corpus: Path, split: str) -> list[Speaker]:
        speakers = _sample(corpus) or _published(corpus)
        if self.dev == "train" and split in ("train", "dev"):
            pool = sorted(speakers.get("train", []) + speakers.get("held", []))
            drawn = _drawn([name for name, _ in pool])
            return [speaker for speaker in pool if (speaker[0] in drawn) == (split == "dev")]
        if split == "test-complete" and "held" in speakers:
            raise CorpusError(
                "the free sample has no complete test part",
                where=str(corpus),
                remedy="take test, its three held-out speakers",
            )
        return speakers.get("held" if split == "dev" and "held" in speakers else split, [])

    def _sentences(self, name: str, folder: Path) -> list[Utterance]:
        """The sentences of one speaker."""
        files = {path.name.lower(): path for path in sorted(folder.iterdir())}
        wanted = SENTENCE_OR_SA if self.keep_sa else SENTENCE
        parts = [name.partition(".") for name in files]
        stems = {stem for stem, _, suffix in parts if suffix in (*AUDIO, "phn")}
        return [
            self._sentence(name, stem, folder, files)
            for stem in sorted(filter(wanted.match, stems))
        ]

    def _sentence(self, name: str, stem: str, folder: Path, files: dict[str, Path]) -> Utterance:
        phones = files.get(f"{stem}.phn")
        audio = next((files[f"{stem}.{s}"] for s in AUDIO if f"{stem}.{s}" in files), None)
        if audio is None or phones is None:
            raise CorpusError(
                f"no {'audio' if audio is None else 'phones (.phn)'} for sentence {stem}",
                where=str(folder),
                remedy="restore the corpus",
            )
        text = " ".join(name for name, _, _ in timed_phones(phones, self.labels))
        return Utterance(f"{name}-{stem}", audio, text, name)


def utterances(corpus: Path, split: str) -> list[Utterance]:
    """Return a split by the published protocol with its phones, 48 labels, as text.

    Raises:
        CorpusError: as :meth:`Reading.utterances`.
    """
    return Reading().utterances(corpus, split)


def splits_of(corpus: Path) -> tuple[str, ...]:
    """The splits that ``corpus`` has: the sample is without a complete test part.

    Raises:
        CorpusError: there is no such folder.
    """
    _check_folder(corpus)
    return SPLITS[:-1] if _sample(corpus) else SPLITS


def _check_folder(corpus: Path) -> None:
    if not corpus.is_dir():
        raise CorpusError("no such folder", where=str(corpus), remedy="give the folder of TIMIT")


def _sample(corpus: Path) -> dict[str, list[Speaker]]:
    """The sample's speakers; those who develop are ``held`` out of the training part."""
    parts: dict[str, list[Speaker]] = {}
    for folder in sorted(corpus.iterdir()):
        if folder.is_dir() and SAMPLE_FOLDER.fullmatch(folder.name):
            name = folder.name.lower().split("-")[1]
            part = "held" if name in SAMPLE_DEV else "test" if name in SAMPLE_TEST else "train"
            parts.setdefault(part, []).append((name, folder))
    return parts


def is_of_sample(audio: Path) -> bool:
    """Whether a recording lies as those of the free sample do."""
    return SAMPLE_FOLDER.fullmatch(audio.parent.name) is not None


def _published(corpus: Path) -> dict[str, list[Speaker]]:
    train, test = (list(_part(corpus, name)) for name in ("train", "test"))
    return {
        "train": train,
        "dev": [speaker for speaker in test if speaker[0] in DEVELOPMENT],
        "test": [speaker for speaker in test if speaker[0] in CORE_TEST],
        "test-complete": test,
    }


def _part(corpus: Path, name: str) -> Iterator[Speaker]:
    """Speakers of TRAIN or TEST, in order of their regions."""
    part = _child(corpus, name)
    if part is None:
        within = (_child(corpus, folder) for folder in WITHIN)
        part = next((p for w in within if w is not None if (p := _child(w, name))), None)
    for region in _folders(part):
        for folder in _folders(region):
            yield folder.name.lower(), folder


def _child(folder: Path, name: str) -> Path | None:
    return next((p for p in _folders(folder) if p.name.lower() == name), None)


def _folders(folder: Path | None) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir()) if folder is not None else []


def _drawn(names: list[str]) -> frozenset[str]:
    """The same speakers out of ``names`` each time."""
    count = max(1, round(DRAWN * len(names)))
    order = np.random.default_rng(0).permutation(len(names))
    return frozenset(names[i] for i in order[:count])


def timed_phones(path: Path, labels: int = 48) -> list[tuple[str, float, float]]:
    """The phones of a ``.phn`` file, folded to ``labels``, with start and end in seconds.

    Raises:
        CorpusError: the file is missing or broken.
    """
    return [
        (name, int(start) / SAMPLE_RATE, int(end) / SAMPLE_RATE)
        for start, end, phone in _rows(path)
        for name in fold([phone], labels)
    ]


def timed_words(path: Path) -> list[tuple[str, float, float]]:
    """The words of a ``.wrd`` file with start and end in seconds.

    Raises:
        CorpusError: the file is missing or broken.
    """
    return [
        (word, int(a) / SAMPLE_RATE, int(b) / SAMPLE_RATE) for a, b, word in _rows(path, "word")
    ]


def phones_beside(audio: Path) -> Path:
    """The ``.phn`` file beside a recording, in any case.

    Raises:
        CorpusError: there is none.
    """
    return _beside(audio, ".phn", "phones")


def words_beside(audio: Path) -> Path:
    """The ``.wrd`` file beside a recording, in any case.

    Raises:
        CorpusError: there is none.
    """
    return _beside(audio, ".wrd", "words")


def _beside(audio: Path, suffix: str, what: str) -> Path:
    wanted = f"{audio.name.partition('.')[0]}{suffix}".lower()
    for path in audio.parent.iterdir():
        if path.name.lower() == wanted:
            return path
    raise CorpusError(f"no {what} ({suffix}) beside", where=str(audio), remedy="restore the corpus")


def _rows(path: Path, what: str = "phone") -> list[list[str]]:
    """The lines of a ``.phn`` or ``.wrd`` file: first sample, end sample, and phone or word."""
    remedy = "restore the corpus"
    rows = []
    for line in read_lines(path, CorpusError, remedy=remedy):
        row = normalise(line.text).split()
        if len(row) != 3 or not (row[0] + row[1]).isdecimal():
            raise CorpusError(f"not 'begin end {what}'", where=line.where, remedy=remedy)
        if what == "phone" and row[2] not in PHONES[61]:
            raise CorpusError(
                f"{row[2]!r} is not a phone of TIMIT", where=line.where, remedy=remedy
            )
        rows.append(row)
    if not rows:
        raise CorpusError(f"no {what}s", where=str(path), remedy=remedy)
    return rows
