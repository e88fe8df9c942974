"""English speech from four free corpora, united: books, spelling, learners and digits.

Synthetic speech may be added, for training alone.

Each has speakers of its own for development: dev-clean-4 of LibriSpeech, the first fold of AN4, 62
speakers of the test part of speechocean762, which has no development part, and one speaker of the
Free Spoken Digit Dataset. The official test parts of LibriSpeech and AN4, and the other 63 speakers
of that of speechocean762, are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

from asr.types import CorpusError
from recipes.an4.corpus import utterances as an4
from recipes.common.corpus import LeftOut
from recipes.common.manifests import Utterance
from recipes.custom.entries import Found, ReadOptions
from recipes.custom.kaldi import read_kaldi
from recipes.custom.tables import read_table
from recipes.custom.utterances import utterance_of
from recipes.english.synthetic import TABLE
from recipes.librispeech.corpus import subsets

__all__ = ["CORPORA", "CORPUS", "DEV", "TITLE", "united"]

TITLE = "English from four free corpora"
CORPUS = "corpus"  # the field of an utterance that says which one it is from
DEV = "dev"
LEARNERS = Path(__file__).with_name("speechocean-dev.txt")  # speakers of its test part
LIBRISPEECH = {"train": ["train-clean-5"], DEV: ["dev-clean-4"]}
DIGITS = "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE".split()
DIGIT_FILE = re.compile(r"([0-9])_([a-z]+)_([0-9]+)")
# Of dev-clean-4, in models/english/samples: no model that ships is trained on them.
SAMPLE_SPEAKERS = ("librispeech-4406", "librispeech-5652")
HELD_OUT = "yweweler"  # of those who speak digits

# The share of its development part by which a corpus has a say in choosing the checkpoint: one
# utterance in so many. Learners and digits are many short utterances, and would outvote the others.
IN_COMMON = {"librispeech": 1, "an4": 1, "speechocean": 5, "fsdd": 20, "synthetic": 1}


def librispeech(corpus: Path, split: str) -> list[Utterance]:
    """LibriSpeech's five hours for training, and four speakers for development.

    Raises:
        CorpusError: a subset is missing or damaged.
    """
    return subsets(corpus, LIBRISPEECH[split])


def speechocean(corpus: Path, split: str) -> list[Utterance]:
    """A part of speechocean762, a folder of Kaldi data directories.

    The corpus as published has ``train`` and ``test``; those of the latter who develop are listed
    beside this file. A folder may have them as ``dev``, alone.

    Raises:
        CorpusError: the directory is missing, or an utterance of it cannot be used.
    """
    whole = split == DEV and not (corpus / DEV).is_dir()
    directory = corpus / ("test" if whole else split)
    if not (directory / "wav.scp").is_file():
        raise CorpusError(
            "no Kaldi data directory here",
            where=str(directory),
            remedy="give the folder of speechocean762 that holds train/ and test/",
        )
    found = _all_of(read_kaldi(directory, ReadOptions()), directory)
    if not whole:
        return found
    learners = LEARNERS.read_text(encoding="utf-8").split()
    return [utterance for utterance in found if utterance.speaker in learners]


def _all_of(found: Found, where: Path) -> list[Utterance]:
    """The utterances of ``found``.

    Raises:
        CorpusError: one cannot be used.
    """
    read = [utterance_of(entry) for entry in found.entries]
    bad = [*found.bad, *(item for item in read if isinstance(item, LeftOut))]
    if bad:
        raise CorpusError(str(bad[0]), where=str(where), remedy="restore the corpus")
    return [item for item in read if isinstance(item, Utterance)]


def fsdd(corpus: Path, split: str) -> list[Utterance]:
    """The Free Spoken Digit Dataset: files ``DIGIT_SPEAKER_TAKE``, ``.wav`` or ``.flac``.

    Raises:
        CorpusError: there are no such files.
    """
    found = []
    for path in sorted([*corpus.glob("*.flac"), *corpus.glob("*.wav")]):
        if match := DIGIT_FILE.fullmatch(path.stem):
            digit, speaker, _ = match.groups()
            if (speaker == HELD_OUT) == (split == DEV):
                found.append(Utterance(path.stem, path, DIGITS[int(digit)], speaker))
    if not found:
        raise CorpusError(
            f"no digits for {split} here",
            where=str(corpus),
            remedy="give the folder of recordings called DIGIT_SPEAKER_TAKE.wav",
        )
    return found


def synthetic(corpus: Path, split: str) -> list[Utterance]:
    """What `synthesise` wrote, all of it for training.

    Raises:
        CorpusError: the table is missing or damaged.
    """
    table = corpus / TABLE
    return [] if split == DEV else _all_of(read_table(table, ReadOptions()), table)


CORPORA: Mapping[str, Callable[[Path, str], list[Utterance]]] = {
    "librispeech": librispeech,
    "an4": an4,
    "speechocean": speechocean,
    "fsdd": fsdd,
    "synthetic": synthetic,
}


def united(folders: Mapping[str, Path], *, more: bool = False) -> dict[str, list[Utterance]]:
    """All splits of the corpora whose folders are given, by name.

    ``train`` has all that trains, ``dev`` what chooses the checkpoint, and ``dev-NAME`` all of a
    corpus that is held out. With ``more``, LibriSpeech's development speakers train too, without
    those whose samples ship.

    Raises:
        CorpusError: none is given, or one is not laid out as published.
    """
    if not folders:
        raise CorpusError("no corpus is given", remedy="give one at least, as --librispeech FOLDER")
    train = {name: _of(name, folder, "train") for name, folder in folders.items()}
    held_out = {name: _of(name, folder, DEV) for name, folder in folders.items()}
    if more and "librispeech" in folders:
        known = held_out["librispeech"]
        held_out["librispeech"] = [u for u in known if u.speaker in SAMPLE_SPEAKERS]
        train["librispeech"] += [u for u in known if u.speaker not in SAMPLE_SPEAKERS]
    common = (held_out[name][:: IN_COMMON[name]] for name in folders)
    return {
        "train": list(chain(*train.values())),
        DEV: list(chain(*common)),
        **{f"{DEV}-{name}": found for name, found in held_out.items() if found},
    }


def _of(name: str, folder: Path, split: str) -> list[Utterance]:
    """A split of one corpus; ids and speakers bear its name, since others may call theirs so."""
    return [
        replace(
            utterance,
            id=f"{name}-{utterance.id}",
            speaker=f"{name}-{utterance.speaker}",
            fields={**utterance.fields, CORPUS: name},
        )
        for utterance in CORPORA[name](folder, split)
    ]
