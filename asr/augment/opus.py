"""What a lossy codec leaves of speech."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr.audio import recode, resample
from asr.augment.change import Samples, check_probability, check_range, happens
from asr.types import ConfigError, Waveform

__all__ = ["Opus", "OpusConfig"]

RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
MIN_KBPS, MAX_KBPS = 6.0, 256.0  # libsndfile's range, along which its compression is linear


@dataclass(frozen=True)
class OpusConfig:
    """Opus at a low rate, as calls over the internet have it, for a share of the utterances.

    Attributes:
        min_kbps: lowest rate, in kilobits per second.
        max_kbps: highest rate.
        probability: share of the utterances.
    """

    min_kbps: float = 6.0
    max_kbps: float = 24.0
    probability: float = 0.05

    def __post_init__(self) -> None:
        check_range("opus", MIN_KBPS, min_kbps=self.min_kbps, max_kbps=self.max_kbps)
        if self.max_kbps > MAX_KBPS:
            raise ConfigError(
                f"max_kbps is {self.max_kbps}", where="opus", remedy=f"give at most {MAX_KBPS:g}"
            )
        check_probability("opus", probability=self.probability)


class Opus:
    """Codes and decodes a share of the utterances; nothing is shifted in time."""

    def __init__(self, config: OpusConfig, sample_rate: int) -> None:
        self.config = config
        self.sample_rate = sample_rate
        self.line_rate = next((rate for rate in RATES if rate >= sample_rate), RATES[-1])

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Map ``(N,)`` to ``(N,)``."""
        config = self.config
        if not len(samples) or not happens(config.probability, rng):
            return samples
        kbps = rng.uniform(config.min_kbps, config.max_kbps)
        compression = 1 - (kbps - MIN_KBPS) / (MAX_KBPS - MIN_KBPS)
        line = resample(Waveform(samples, self.sample_rate), self.line_rate)
        coded = recode(line, "opus", compression)
        heard = resample(coded, self.sample_rate).samples[: len(samples)]
        return np.pad(heard, (0, len(samples) - len(heard)))
