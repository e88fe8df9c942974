"""How loud a recording is, and what happens to it where that is too much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr.augment.change import Samples, check_probability, check_range, decibels, happens
from asr.types import ConfigError

__all__ = ["Clip", "Gain", "limit"]


@dataclass(frozen=True)
class Gain:
    """Makes a share of the utterances louder or fainter.

    A recording has steps, which do not become finer where it is faint: speech at -40 dB keeps
    some twenty of them. Without the steps, normalised features are nearly the same at any level.

    Attributes:
        min_db: lowest gain, in decibels.
        max_db: highest gain. What goes beyond full scale is clipped by a codec and made fainter at
            the end of a chain: see :func:`limit`.
        probability: share of the utterances.
        bits: what comes out is rounded as a recording of so many bits is; 0 rounds nothing.
    """

    min_db: float = -30.0
    max_db: float = 6.0
    probability: float = 0.5
    bits: int = 16

    def __post_init__(self) -> None:
        check_range("gain", min_db=self.min_db, max_db=self.max_db)
        check_probability("gain", probability=self.probability)
        if self.bits and not 2 <= self.bits <= 24:
            raise ConfigError(
                f"bits is {self.bits}", where="gain", remedy="give 2 to 24, or 0 to round nothing"
            )

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Map ``(N,)`` to ``(N,)``."""
        if not happens(self.probability, rng):
            return samples
        changed = samples * np.float32(decibels(rng.uniform(self.min_db, self.max_db)))
        if not self.bits:
            return changed
        steps = np.float32(2 ** (self.bits - 1))
        rounded: Samples = np.rint(changed * steps) / steps
        return rounded


@dataclass(frozen=True)
class Clip:
    """Cuts the peaks off a share of the utterances, as a microphone turned up too far does.

    Attributes:
        min_db: least distance from the peak of the utterance down to where it is cut, in decibels.
        max_db: greatest distance.
        probability: share of the utterances.
    """

    min_db: float = 1.0
    max_db: float = 12.0
    probability: float = 0.1

    def __post_init__(self) -> None:
        check_range("clipping", 0.0, min_db=self.min_db, max_db=self.max_db)
        check_probability("clipping", probability=self.probability)

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Map ``(N,)`` to ``(N,)``."""
        if not len(samples) or not happens(self.probability, rng):
            return samples
        top = np.float32(_peak(samples) * decibels(-rng.uniform(self.min_db, self.max_db)))
        return np.clip(samples, -top, top)


def limit(samples: Samples) -> Samples:
    """``samples (N,)`` as they are, or so much fainter that none is beyond full scale (1)."""
    peak = _peak(samples)
    return samples / np.float32(peak) if peak > 1.0 else samples


def _peak(samples: Samples) -> float:
    return float(np.abs(samples).max()) if len(samples) else 0.0
