"""What a recogniser hears where nobody speaks: nothing, if it is good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.augment import NoSpeech, NoSpeechConfig, Recordings
from asr.augment.change import Samples
from asr.decoding import Decoder
from asr.recognizer import Recognizer
from asr.types import Waveform

__all__ = ["NoWords", "hear_no_words", "no_words"]

SEED = 1988
SECONDS = 3.0
LEVELS_DB = (-60.0, -50.0, -40.0, -30.0)  # of full scale: from a quiet room to a loud one
DRAWS = 5  # recordings of a kind at each level


@dataclass(frozen=True)
class NoWords:
    """Recordings of one kind without words, and what was heard in them.

    Attributes:
        kind: ``"digital silence"``, or the kind of noise and its level.
        recordings: how many.
        texts: of those in which words were heard.
    """

    kind: str
    recordings: int
    texts: tuple[str, ...]

    @property
    def example(self) -> str:
        """One of the texts; empty if there is none."""
        return self.texts[0] if self.texts else ""


def no_words(sample_rate: int, noise: Path | None = None) -> Iterator[tuple[str, Samples]]:
    """Kinds and samples ``(N,)``: digital silence, and noise at each level, always the same.

    The noise is white or pink, or from recordings in the folder ``noise`` as well.

    Raises:
        AudioError: the folder has no audio, or audio that cannot be used.
    """
    size = round(SECONDS * sample_rate)
    yield "digital silence", np.zeros(size, np.float32)
    recordings = Recordings(str(noise), sample_rate) if noise else None
    for level in LEVELS_DB:
        make = NoSpeech(NoSpeechConfig(0.0, level, level, probability=1.0), recordings)
        rng = np.random.default_rng(SEED)
        for _ in range(DRAWS * (2 + (recordings is not None))):
            samples = make(size, rng)
            assert samples is not None  # with that probability
            yield f"noise at {level:g} dB", samples


def hear_no_words(
    recognizer: Recognizer, decoder: Decoder, noise: Path | None = None
) -> list[NoWords]:
    """What ``recognizer`` hears in 3 s each of :func:`no_words`."""
    heard: dict[str, list[str]] = {}
    for kind, samples in no_words(recognizer.sample_rate, noise):
        [transcript] = recognizer.recognize([Waveform(samples, recognizer.sample_rate)], decoder)
        heard.setdefault(kind, []).append(transcript.text)
    return [NoWords(kind, len(texts), tuple(filter(None, texts))) for kind, texts in heard.items()]
