"""Speech played faster or slower."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr

from asr.augment.change import Samples
from asr.types import ConfigError

__all__ = ["SpeedPerturbation"]


@dataclass(frozen=True)
class SpeedPerturbation:
    """Plays an utterance faster or slower, pitch and all (Ko et al. 2015).

    Each call draws one of ``factors``; 1.1 makes the utterance a tenth faster.
    """

    factors: tuple[float, ...] = (0.9, 1.0, 1.1)

    def __post_init__(self) -> None:
        if not self.factors or not all(0.5 <= factor <= 2.0 for factor in self.factors):
            raise ConfigError(
                f"speed factors are {self.factors}", remedy="give numbers from 0.5 to 2"
            )

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Map ``(N,)`` to about ``(N / factor,)``."""
        factor = float(rng.choice(np.asarray(self.factors)))
        if factor == 1.0:
            return samples
        return np.asarray(soxr.resample(samples, factor, 1.0, quality="HQ"), dtype=np.float32)
