"""Noise beneath speech: computed, or from recordings in a folder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.augment.change import Samples, check_probability, check_range, happens, mix
from asr.augment.recordings import Recordings, span
from asr.types import ConfigError

__all__ = ["COLOURS", "AddNoise", "AddRecordedNoise", "RecordedNoiseConfig", "coloured_noise"]

COLOURS = ("white", "pink")


def coloured_noise(colour: str, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Gaussian noise ``(size,)`` of mean power about 1.

    ``"white"`` has the same power at all frequencies, ``"pink"`` 3 dB less an octave up.
    """
    noise: NDArray[np.float64] = rng.standard_normal(size)
    if colour == "white" or size < 2:
        return noise
    spectrum = np.fft.rfft(noise)
    slope = 1 / np.sqrt(np.maximum(np.arange(len(spectrum)), 1.0))
    slope[0] = 0.0  # no constant
    return np.asarray(np.fft.irfft(spectrum * slope, size) / np.sqrt(np.mean(slope**2)))


@dataclass(frozen=True)
class AddNoise:
    """Adds computed noise at a random signal-to-noise ratio, to a share of the utterances.

    Attributes:
        min_snr_db: lowest ratio, in decibels.
        max_snr_db: highest ratio.
        probability: share of the utterances.
        colours: ``white``, ``pink``; one is drawn.
    """

    min_snr_db: float = 10.0
    max_snr_db: float = 40.0
    probability: float = 0.5
    colours: tuple[str, ...] = ("white",)

    def __post_init__(self) -> None:
        check_range("computed noise", min_snr_db=self.min_snr_db, max_snr_db=self.max_snr_db)
        check_probability("computed noise", probability=self.probability)
        if not self.colours or set(self.colours) - set(COLOURS):
            raise ConfigError(
                f"colours are {', '.join(map(str, self.colours)) or 'none'}",
                where="computed noise",
                remedy=f"choose from {', '.join(COLOURS)}",
            )

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Map ``(N,)`` to ``(N,)``."""
        if not happens(self.probability, rng):
            return samples
        snr_db = rng.uniform(self.min_snr_db, self.max_snr_db)
        colour = str(rng.choice(self.colours)) if len(self.colours) > 1 else self.colours[0]
        return mix(samples, coloured_noise(colour, len(samples), rng), snr_db)


@dataclass(frozen=True)
class RecordedNoiseConfig:
    """Noise from recordings at a random signal-to-noise ratio, on a share of the utterances.

    Attributes:
        folder: with audio files of any kind in it or below it; or one such file.
        min_snr_db: lowest ratio, in decibels.
        max_snr_db: highest ratio.
        probability: share of the utterances.
    """

    folder: str = ""
    min_snr_db: float = 5.0
    max_snr_db: float = 25.0
    probability: float = 0.3

    def __post_init__(self) -> None:
        if not self.folder:
            raise ConfigError(
                "no folder is given", where="noise", remedy="give one with recordings of noise"
            )
        check_range("noise", min_snr_db=self.min_snr_db, max_snr_db=self.max_snr_db)
        check_probability("noise", probability=self.probability)


class AddRecordedNoise:
    """Adds a random span of a recording drawn from a folder, repeated where that is shorter.

    Raises:
        AudioError: the folder has no audio, or a recording in it cannot be used.
    """

    def __init__(self, config: RecordedNoiseConfig, sample_rate: int) -> None:
        self.config = config
        self.recordings = Recordings(config.folder, sample_rate)

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Map ``(N,)`` to ``(N,)``."""
        config = self.config
        if not happens(config.probability, rng):
            return samples
        noise = span(self.recordings.draw(rng), len(samples), rng)
        return mix(samples, noise, rng.uniform(config.min_snr_db, config.max_snr_db))
