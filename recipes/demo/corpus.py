"""A small spoken corpus, synthesised offline: digit strings and commands in many voices.

A voice is an accent and a timbre of espeak-ng. Timbres of the training, development and test parts
are disjoint, and none is in training whose pitch and formants are those of a held-out one (steph
and steph2 are steph3, Diogo is michel, but for loudness and consonants), so that the test hears
voices never trained on. Everything follows from one seed.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from asr.audio import resample, write_wav
from asr.types import AsrError, CorpusError
from recipes.common.manifests import Utterance
from recipes.demo.espeak import Voice, speak

__all__ = ["SPLITS", "TITLE", "synthesise", "utterances"]

TITLE = "spoken commands by espeak-ng"
SPLITS = ("train", "dev", "test")
SAMPLE_RATE = 16_000
SEED = 1997

ACCENTS = ("en-us", "en-029", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
TIMBRES = {
    "train": (
        "f1 f2 f4 f5 m1 m2 m4 m5 m6 m8 adam anika antonio belinda benjamin boris david ed edward "
        "Gene iven iven3 Jacky john linda marcelo Mario max Michael miguel norbert pablo pedro "
        "quincy rob sandro travis victor Alex Alicia Andy Denis Hugo Reed caleb ian "
        "iven2 iven4 mike2 Nguyen Storm Gene2 edward2 grandpa klatt2 klatt4 aunty gustave"
    ).split(),
    "dev": ["f3", "m7", "paul", "Annie", "Mike", "grandma"],
    "test": ["m3", "Andrea", "robert", "shelby", "michel", "Lee", "zac", "steph3"],
}
SIZES = {"train": 1400, "dev": 60, "test": 80}

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
PLACES = ["kitchen", "bedroom", "garden", "hall"]
THINGS = ["light", "lamp", "heater", "fan"]
NAMES = ["anna", "peter", "maria", "james"]
PHRASES = (
    "play some music",
    "stop the music",
    "what time is it",
    "open the door",
    "close the window",
    "good morning",
    "good night",
    "read my messages",
    "volume up",
    "volume down",
)


@dataclass(frozen=True)
class Line:
    """One utterance to be spoken."""

    id: str
    text: str
    split: str
    voice: Voice

    @property
    def speaker(self) -> str:
        """The voice without its speed and pitch."""
        return self.voice.name


def script(split: str) -> list[Line]:
    """Return what is spoken in a split, by which voice; always the same."""
    rng = np.random.default_rng([SEED, SPLITS.index(split)])
    timbres = TIMBRES[split]
    lines = []
    for number in range(SIZES[split]):
        accent = ACCENTS[int(rng.integers(len(ACCENTS)))]
        voice = Voice(
            name=f"{accent}+{timbres[number % len(timbres)]}",
            rate=int(rng.integers(120, 191)),
            pitch=int(rng.integers(30, 71)),
            pitch_range=int(rng.integers(30, 71)),
        )
        lines.append(Line(f"{split}-{number:04d}", _text(rng), split, voice))
    return lines


def _text(rng: np.random.Generator) -> str:
    def one(words: tuple[str, ...] | list[str]) -> str:
        return words[int(rng.integers(len(words)))]

    kind = rng.random()
    if kind < 0.45:
        return " ".join(one(DIGITS) for _ in range(int(rng.integers(2, 6))))
    if kind < 0.7:
        return f"turn {one(['on', 'off'])} the {one(PLACES)} {one(THINGS)}"
    if kind < 0.8:
        return f"set a timer for {one(DIGITS[2:])} minutes"
    if kind < 0.88:
        return f"call {one(NAMES)}"
    return one(PHRASES)


def synthesise(corpus: Path) -> None:
    """Speak every line into ``corpus``, on all processors; lines already there are kept.

    Raises:
        AsrError: espeak-ng fails; what was spoken so far is kept.
    """
    lines = [line for split in SPLITS for line in script(split)]
    (corpus / "wav").mkdir(parents=True, exist_ok=True)
    missing = [(corpus, line) for line in lines if not _path(corpus, line).exists()]
    if missing:
        _speak_all(missing)
    rows = [json.dumps({**asdict(line), "speaker": line.speaker}) for line in lines]
    (corpus / "lines.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _speak_all(jobs: list[tuple[Path, Line]]) -> None:
    # Fresh interpreters: espeak-ng's state is global, and threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(mp_context=context) as pool:
            spoken = pool.map(_speak, jobs, chunksize=16)
            for _ in track(spoken, description="speaking", total=len(jobs), transient=True):
                pass
    except BrokenProcessPool:
        raise AsrError(
            "a process that speaks has died", remedy="run again: what was spoken is kept"
        ) from None


def _speak(job: tuple[Path, Line]) -> None:
    corpus, line = job
    write_wav(_path(corpus, line), resample(speak(line.text, line.voice), SAMPLE_RATE))


def _path(corpus: Path, line: Line) -> Path:
    """The name carries what is said and how: audio of an older script is never taken for this."""
    digest = hashlib.sha256(json.dumps(asdict(line), sort_keys=True).encode()).hexdigest()
    return corpus / "wav" / f"{line.id}-{digest[:8]}.wav"


def utterances(corpus: Path, split: str) -> list[Utterance]:
    """Return a split of what :func:`synthesise` spoke.

    Raises:
        CorpusError: the split is unknown or was not spoken.
    """
    if split not in SPLITS:
        raise CorpusError(f"unknown split {split!r}", remedy=f"choose {', '.join(SPLITS)}")
    lines = script(split)
    absent = [line for line in lines if not _path(corpus, line).exists()]
    if absent:
        raise CorpusError(
            f"{len(absent)} of {len(lines)} utterances are not there",
            where=str(corpus),
            remedy="run `python -m recipes.demo prepare` without --corpus",
        )
    return [Utterance(u.id, _path(corpus, u), u.text, u.speaker) for u in lines]
