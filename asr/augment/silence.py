"""Silence before, after and between words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr.augment.change import (
    Samples,
    check_least,
    check_probability,
    check_range,
    decibels,
    happens,
)
from asr.augment.noise import coloured_noise
from asr.gate import loudest_level

__all__ = ["InsertSilence", "SilenceConfig", "faint", "pauses"]

FRAME_SECONDS = 0.01
MIN_PAUSE_SECONDS = 0.12  # longer than the closure of a stop, which is within a word
PAUSE_DB = 30.0  # below the loudest 50 ms


@dataclass(frozen=True)
class SilenceConfig:
    """Silence put before, after and between the words of a share of the utterances.

    Each piece has a random length, and is digital silence or faint white noise.

    Attributes:
        max_before: seconds before the first sample, at most.
        max_after: seconds after the last, at most.
        max_between: seconds put into one pause, at most.
        max_pauses: how many pauses get longer, at most. A pause is found by its level: 120 ms and
            more that are 30 dB below the loudest 50 ms. Utterances without any get none.
        probability: share of the utterances.
        digital: share of the pieces that are digital silence.
        min_level_db: of the noise in other pieces, below the loudest 50 ms of the utterance.
        max_level_db: of that noise, at most.
    """

    max_before: float = 0.5
    max_after: float = 0.5
    max_between: float = 0.3
    max_pauses: int = 2
    probability: float = 0.5
    digital: float = 0.5
    min_level_db: float = -80.0
    max_level_db: float = -40.0

    def __post_init__(self) -> None:
        check_least(
            "silence",
            0.0,
            max_before=self.max_before,
            max_after=self.max_after,
            max_between=self.max_between,
            max_pauses=self.max_pauses,
        )
        check_probability("silence", probability=self.probability, digital=self.digital)
        check_range("silence", min_level_db=self.min_level_db, max_level_db=self.max_level_db)

    @property
    def max_seconds(self) -> float:
        """How much longer an utterance can become."""
        between = self.max_between * self.max_pauses
        return (self.max_before + self.max_after + between) if self.probability else 0.0


class InsertSilence:
    """Puts pieces of silence into an utterance; its own samples stay as they are."""

    def __init__(self, config: SilenceConfig, sample_rate: int) -> None:
        self.config = config
        self.sample_rate = sample_rate

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Map ``(N,)`` to ``(N + inserted,)``."""
        config = self.config
        if not len(samples) or not happens(config.probability, rng):
            return samples
        level = loudest_level(samples, self.sample_rate)
        places = pauses(samples, self.sample_rate) if config.max_between else []
        count = min(int(rng.integers(config.max_pauses + 1)), len(places))
        chosen = sorted(rng.choice(places, count, replace=False).tolist()) if count else []
        pieces = [self._silence(config.max_before, level, rng)]
        start = 0
        for place in chosen:
            pieces += [samples[start:place], self._silence(config.max_between, level, rng)]
            start = place
        pieces += [samples[start:], self._silence(config.max_after, level, rng)]
        return np.concatenate(pieces)

    def _silence(self, max_seconds: float, level: float, rng: np.random.Generator) -> Samples:
        config = self.config
        size = int(rng.uniform(0.0, max_seconds) * self.sample_rate)
        range_db = config.min_level_db, config.max_level_db
        return faint(size, level, config.digital, range_db, rng)


def faint(
    size: int,
    level: float,
    digital: float,
    range_db: tuple[float, float],
    rng: np.random.Generator,
) -> Samples:
    """A piece of silence ``(size,)``.

    Args:
        size: samples.
        level: of speech, in decibels.
        digital: probability that it is digital silence.
        range_db: lowest and highest level of white noise in its place, relative to ``level``.
        rng: what chance is drawn from.
    """
    if happens(digital, rng):
        return np.zeros(size, np.float32)
    scale = decibels(level + rng.uniform(*range_db))
    return np.asarray(coloured_noise("white", size, rng) * scale, dtype=np.float32)


def pauses(samples: Samples, sample_rate: int) -> list[int]:
    """The quietest place of each pause within ``samples (N,)``, in their order.

    A pause lies between speech and is told by its level alone (:data:`MIN_PAUSE_SECONDS`,
    :data:`PAUSE_DB`): in noise there may be none to be found.
    """
    size = max(1, round(FRAME_SECONDS * sample_rate))
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)  # (T,)
    quiet = power < decibels(loudest_level(samples, sample_rate) - PAUSE_DB) ** 2
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8), prepend=0, append=0))
    places = []
    for start, end in edges.reshape(-1, 2):
        within = start > 0 and end < len(quiet)
        if within and (end - start) * size >= MIN_PAUSE_SECONDS * sample_rate:
            # Where several are as quiet, as in digital silence, the middle one.
            lowest = np.flatnonzero(power[start:end] == power[start:end].min())
            places.append(int((start + lowest[len(lowest) // 2]) * size + size // 2))
    return places
