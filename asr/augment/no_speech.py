"""Audio without words, which is to be recognised as such."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr.augment.change import Samples, check_probability, check_range, decibels, happens
from asr.augment.noise import COLOURS, coloured_noise
from asr.augment.recordings import Recordings, span

__all__ = ["NoSpeech", "NoSpeechConfig"]


@dataclass(frozen=True)
class NoSpeechConfig:
    """Audio without words in the place of a share of the utterances, with an empty text.

    It is as long as the utterance: digital silence, or white noise, pink noise or a recording of
    the option ``noise``, each as likely as the others.

    Attributes:
        digital: share of it that is digital silence.
        min_level_db: of what is not, relative to full scale.
        max_level_db: at most.
        probability: share of the utterances.
    """

    digital: float = 0.2
    min_level_db: float = -80.0
    max_level_db: float = -20.0
    probability: float = 0.02

    def __post_init__(self) -> None:
        check_range("no_speech", min_level_db=self.min_level_db, max_level_db=self.max_level_db)
        check_probability("no_speech", digital=self.digital, probability=self.probability)


class NoSpeech:
    """Makes audio without words for a share of the utterances."""

    def __init__(self, config: NoSpeechConfig, recordings: Recordings | None) -> None:
        self.config = config
        self.recordings = recordings

    def __call__(self, size: int, rng: np.random.Generator) -> Samples | None:
        """``(size,)`` samples to stand for an utterance, or None: it is to stay."""
        config = self.config
        if not happens(config.probability, rng):
            return None
        if happens(config.digital, rng):
            return np.zeros(size, np.float32)
        kind = int(rng.integers(len(COLOURS) + (self.recordings is not None)))
        if kind < len(COLOURS):
            noise = np.asarray(coloured_noise(COLOURS[kind], size, rng), dtype=np.float32)
        else:
            assert self.recordings is not None
            noise = span(self.recordings.draw(rng), size, rng)
        level = decibels(rng.uniform(config.min_level_db, config.max_level_db))
        now = float(np.sqrt(np.mean(np.square(noise, dtype=np.float64)))) if size else 0.0
        return noise * np.float32(level / now) if now else noise
