"""What a telephone leaves of speech: a narrow band at 8 kHz in eight bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.audio import recode, resample
from asr.augment.change import Samples, check_probability, check_range, happens
from asr.types import ConfigError, Waveform

__all__ = ["Telephone", "TelephoneConfig", "band_pass"]

RATE = 8_000
CODINGS = ("none", "mulaw", "alaw", "gsm")
EDGE_HZ = 100.0


@dataclass(frozen=True)
class TelephoneConfig:
    """A telephone line for a share of the utterances.

    Attributes:
        low_hz: lower end of the band.
        high_hz: upper end of the band; less than 4000, since the line has 8 kHz.
        codings: one is drawn: ``none``, ``mulaw`` and ``alaw`` (ITU-T G.711), ``gsm`` (GSM 6.10).
        probability: share of the utterances.
        whole_band: share of these lines that keep all of 0 to 4000 Hz, as a recording sampled at
            8 kHz does.
    """

    low_hz: float = 300.0
    high_hz: float = 3400.0
    codings: tuple[str, ...] = ("none", "mulaw", "alaw")
    probability: float = 0.2
    whole_band: float = 0.3

    def __post_init__(self) -> None:
        check_probability("telephone", probability=self.probability, whole_band=self.whole_band)
        check_range("telephone", 0.0, low_hz=self.low_hz, high_hz=self.high_hz)
        if self.high_hz >= RATE / 2:
            raise ConfigError(
                f"high_hz is {self.high_hz:g}",
                where="telephone",
                remedy=f"give less than {RATE // 2}, half the rate of the line",
            )
        if not self.codings or set(self.codings) - set(CODINGS):
            raise ConfigError(
                f"codings are {', '.join(map(str, self.codings)) or 'none'}",
                where="telephone",
                remedy=f"choose from {', '.join(CODINGS)}",
            )


class Telephone:
    """Passes a share of the utterances through a telephone line; nothing is shifted in time."""

    def __init__(self, config: TelephoneConfig, sample_rate: int) -> None:
        self.config = config
        self.sample_rate = sample_rate

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Map ``(N,)`` to ``(N,)``."""
        config = self.config
        if not len(samples) or not happens(config.probability, rng):
            return samples
        line = resample(Waveform(samples, self.sample_rate), RATE).samples
        if not len(line):  # of one or two samples at a high rate
            return samples
        if not happens(config.whole_band, rng):
            line = band_pass(line, RATE, config.low_hz, config.high_hz)
        coding = str(rng.choice(config.codings))
        coded = Waveform(line, RATE)
        if coding != "none":
            coded = recode(coded, coding)
        heard = resample(coded, self.sample_rate).samples[: len(samples)]
        return np.pad(heard, (0, len(samples) - len(heard)))


def band_pass(samples: Samples, sample_rate: int, low_hz: float, high_hz: float) -> Samples:
    """Keep what lies between two frequencies, without a shift; 100 Hz beyond them nothing is left.

    ``samples (N,)`` are taken for one period of something that repeats.
    """
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / sample_rate)
    gain = np.minimum(_rise(hertz, low_hz), _rise(-hertz, -high_hz))
    return np.asarray(np.fft.irfft(spectrum * gain, len(samples)), dtype=np.float32)


def _rise(hertz: NDArray[np.floating], edge: float) -> NDArray[np.floating]:
    """0 to 1 along half a cosine, over the 100 Hz below ``edge``."""
    place = np.clip((hertz - edge) / EDGE_HZ + 1.0, 0.0, 1.0)
    return np.asarray((1 - np.cos(np.pi * place)) / 2)
