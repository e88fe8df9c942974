"""Synthetic speech: sentences of a text read by offline voices, as a corpus for training.

    FOLDER/table.tsv      id, audio, text, speaker: what ``recipes.custom prepare`` reads as well
    FOLDER/audio/*.wav    16 kHz

Voices are those of flite (the command of Debian's package of that name) and of hibari (the package
``hibari-tts``, its one voice that needs no download). Each sentence has a speed of its own, and a
pitch that is changed by resampling, with the vocal tract: a voice then is several speakers.
"""

from __future__ import annotations

import lzma
import math
import random
import shutil
import subprocess
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.progress import Progress

from asr.audio import read_audio, resample, write_wav
from asr.files.write import replace_text
from asr.types import AsrError, ConfigError, CorpusError, Waveform
from recipes.common.recipe import Recipe

__all__ = ["TABLE", "Synthesise", "sentences"]

TABLE = "table.tsv"
RATE = 16_000
FLITE = ("kal16", "awb", "rms", "slt")
HIBARI = "hibari"
WORDS = (5, 15)  # of a sentence
SPEEDS, PITCHES = (0.85, 1.2), (0.9, 1.12)
SECONDS_A_WORD = 0.15  # at the least: so many sentences are drawn that the hours are reached

Voice = Callable[[str, float], Waveform]  # of a text, and how much faster than usual


@dataclass(frozen=True)
class Reading:
    """A sentence and how it is read: speed, and pitch as a factor of the voice's own."""

    text: str
    voice: str
    speed: float
    pitch: float


class Synthesise:
    """The command."""

    help = "let offline voices read sentences: a corpus for `prepare --synthetic`"

    def add_options(self, part: ArgumentParser) -> None:
        """Add its options."""
        part.add_argument("texts", type=Path, help="a sentence a line; .xz is read too")
        part.add_argument("--output", type=Path, required=True, help="folder to make")
        part.add_argument("--hours", type=float, default=2.0, help="of speech (default: 2)")
        part.add_argument("--seed", type=int, default=0, help="of sentences, voices and speeds")
        part.add_argument(
            "--voices",
            nargs="+",
            choices=(*FLITE, HIBARI),
            default=[*FLITE, HIBARI],
            help="an equal number of sentences each (default: all)",
        )

    def run(self, recipe: Recipe, arguments: Namespace) -> None:
        """Read sentences until there are so many hours.

        Raises:
            CorpusError: there are too few sentences.
            ConfigError: the folder is there, or a voice is not installed.
        """
        folder, hours = arguments.output, arguments.hours
        if folder.exists():
            raise ConfigError(
                "this is there already", where=str(folder), remedy="give a new folder"
            )
        if not 0.0 < hours < math.inf:
            raise ConfigError(f"--hours is {hours}", remedy="give a number above 0")
        voices = {name: _voice(name) for name in arguments.voices}
        count = int(hours * 3600 / (SECONDS_A_WORD * WORDS[0]))
        found = sentences(arguments.texts, count, arguments.seed)
        plan = readings(found, arguments.voices, arguments.seed)
        (folder / "audio").mkdir(parents=True)
        spoken = _write(folder, plan, voices, hours)
        print(f"{folder}: {spoken / 3600:.2f} hours of {', '.join(arguments.voices)}")
        if spoken < hours * 3600:
            raise CorpusError(
                f"the sentences last {spoken / 3600:.2f} hours",
                where=str(arguments.texts),
                remedy=f"give more texts, with {WORDS[0]} to {WORDS[1]} words a line",
            )


def sentences(path: Path, count: int, seed: int) -> list[str]:
    """So many different sentences of ``path``, each as likely as any other, or all there are.

    Raises:
        CorpusError: the file cannot be read, or no line has as many words as a sentence.
    """
    rng = random.Random(seed)
    kept: list[str] = []
    seen = 0
    for line in _lines(path):
        if not WORDS[0] <= len(line.split()) <= WORDS[1]:
            continue
        seen += 1
        if len(kept) < count:
            kept.append(line)
        elif (place := rng.randrange(seen)) < count:
            kept[place] = line
    if not kept:
        raise CorpusError(
            f"no line has {WORDS[0]} to {WORDS[1]} words",
            where=str(path),
            remedy="give a text with a sentence a line",
        )
    kept = sorted(set(kept))
    rng.shuffle(kept)
    return kept


def _lines(path: Path) -> Iterator[str]:
    try:
        with (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8") as file:
            yield from (line.strip() for line in file)
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        raise CorpusError(
            f"cannot be read: {error}", where=str(path), remedy="give a text in UTF-8"
        ) from None


def readings(found: list[str], voices: list[str], seed: int) -> list[Reading]:
    """How each sentence is read: voices in turn, speed and pitch drawn."""
    rng = random.Random(seed)
    return [
        Reading(text, voices[n % len(voices)], rng.uniform(*SPEEDS), rng.uniform(*PITCHES))
        for n, text in enumerate(found)
    ]


def _write(folder: Path, plan: list[Reading], voices: dict[str, Voice], hours: float) -> float:
    """Speak until there are so many hours; returns the seconds."""
    spoken = 0.0
    with Progress(transient=True) as progress, replace_text(folder / TABLE) as table:
        task = progress.add_task("speaking", total=hours * 3600)
        table.write("id\taudio\ttext\tspeaker\n")
        for number, reading in enumerate(plan):
            if spoken >= hours * 3600:
                break
            waveform = speak(reading, voices[reading.voice])
            name = f"{number:06}"
            write_wav(folder / "audio" / f"{name}.wav", waveform)
            table.write(f"{name}\taudio/{name}.wav\t{reading.text}\t{reading.voice}\n")
            spoken += waveform.duration
            progress.update(task, completed=spoken)
    return spoken


def speak(reading: Reading, voice: Voice) -> Waveform:
    """The sentence at 16 kHz."""
    # What is taken to be at a higher rate is higher, and faster; that much slower it is spoken.
    waveform = voice(reading.text.lower(), reading.speed / reading.pitch)
    raised = Waveform(waveform.samples, round(waveform.sample_rate * reading.pitch))
    return resample(raised, RATE)


def _voice(name: str) -> Voice:
    """The voice called so.

    Raises:
        ConfigError: it is not installed.
    """
    if name == HIBARI:
        try:
            hibari = import_module("hibari")
        except ModuleNotFoundError:
            raise ConfigError(
                "hibari is not installed", remedy="pip install hibari-tts, or name --voices"
            ) from None
        return partial(_hibari, hibari.Hibari(), hibari.SAMPLE_RATE)
    if shutil.which("flite") is None:
        raise ConfigError("flite is not installed", remedy="apt install flite, or name --voices")
    return partial(_flite, name)


def _hibari(reader: Callable[..., np.ndarray], rate: int, text: str, speed: float) -> Waveform:
    return Waveform(reader(text + ".", speed=speed, seed=0), rate)


def _flite(name: str, text: str, speed: float) -> Waveform:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        stretch = f"duration_stretch={1 / speed:.4f}"
        command = ["flite", "-voice", name, "--setf", stretch, "-t", text, "-o", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not path.is_file():
            raise AsrError(f"flite fails: {done.stderr.strip()}", remedy="choose other --voices")
        return read_audio(path)
