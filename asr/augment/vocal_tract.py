"""Speakers with longer and shorter vocal tracts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr.augment.change import check_probability, check_range, happens
from asr.types import ConfigError

__all__ = ["VocalTractConfig"]


@dataclass(frozen=True)
class VocalTractConfig:
    """The frequency axis of the mel filters stretched, for a share of the utterances.

    Jaitly & Hinton, "Vocal tract length perturbation (VTLP) improves speech recognition" (2013).
    Pitch and duration stay as they are.

    Attributes:
        min_factor: least factor; below 1 a voice sounds as if its vocal tract were longer.
        max_factor: greatest factor.
        probability: share of the utterances.
    """

    min_factor: float = 0.9
    max_factor: float = 1.1
    probability: float = 0.8

    def __post_init__(self) -> None:
        check_range("vocal_tract", 0.5, min_factor=self.min_factor, max_factor=self.max_factor)
        if self.max_factor > 2.0:
            raise ConfigError(
                f"max_factor is {self.max_factor}", where="vocal_tract", remedy="give at most 2"
            )
        check_probability("vocal_tract", probability=self.probability)

    def draw(self, rng: np.random.Generator) -> float:
        """The factor for one utterance; 1 changes nothing."""
        if not happens(self.probability, rng):
            return 1.0
        return float(rng.uniform(self.min_factor, self.max_factor))
