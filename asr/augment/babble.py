"""Other people who talk at the same time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from asr.augment.change import Samples, check_least, check_probability, check_range, happens, mix
from asr.augment.recordings import span
from asr.types import ConfigError

__all__ = ["AddBabble", "BabbleConfig"]


@dataclass(frozen=True)
class BabbleConfig:
    """Several voices beneath a share of the utterances.

    Attributes:
        min_voices: fewest voices; of one or two the words could be understood.
        max_voices: most voices.
        min_snr_db: lowest ratio of the utterance to all of them, in decibels.
        max_snr_db: highest ratio.
        probability: share of the utterances.
    """

    min_voices: int = 3
    max_voices: int = 7
    min_snr_db: float = 10.0
    max_snr_db: float = 25.0
    probability: float = 0.2

    def __post_init__(self) -> None:
        check_least("babble", 1, min_voices=self.min_voices)
        if self.min_voices > self.max_voices:
            raise ConfigError(
                f"min_voices is {self.min_voices} and max_voices is {self.max_voices}",
                where="babble",
                remedy="use min_voices <= max_voices",
            )
        check_range("babble", min_snr_db=self.min_snr_db, max_snr_db=self.max_snr_db)
        check_probability("babble", probability=self.probability)


class AddBabble:
    """Adds voices of equal power, each a random span of an utterance that ``draw`` gives."""

    def __init__(
        self, config: BabbleConfig, draw: Callable[[np.random.Generator], Samples]
    ) -> None:
        self.config = config
        self.draw = draw

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Map ``(N,)`` to ``(N,)``."""
        config = self.config
        if not happens(config.probability, rng):
            return samples
        babble = np.zeros(len(samples))
        for _ in range(int(rng.integers(config.min_voices, config.max_voices + 1))):
            voice = self.draw(rng)
            power = float(np.mean(np.square(voice, dtype=np.float64))) if len(voice) else 0.0
            if power:
                babble += span(voice, len(samples), rng) / np.sqrt(power)
        return mix(samples, babble, rng.uniform(config.min_snr_db, config.max_snr_db))
