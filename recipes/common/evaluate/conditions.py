"""What a recogniser of people has to stand: silence, faint speech, telephone lines, noise.

A condition changes each utterance and leaves its text true. All chance follows from the names of
condition and utterance, so that a condition is the same whenever it is measured.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.audio import resample
from asr.augment import (
    AddNoise,
    AddRecordedNoise,
    Change,
    Gain,
    RecordedNoiseConfig,
    Telephone,
    TelephoneConfig,
)
from asr.augment.change import Samples
from asr.augment.levels import limit
from asr.augment.silence import faint
from asr.gate import loudest_level
from asr.types import ConfigError, Waveform

__all__ = ["ALL", "CONDITIONS", "Condition", "chosen_conditions", "make_conditions"]

ALL = "all"
SEED = 2006
AROUND_SECONDS = 0.5
HISS_DB = (-50.0, -50.0)  # of noise around speech, below its loudest 50 ms
GAIN_DB = -40.0
SNR_DB = 10.0

Make = Callable[[int, Path | None], Change]  # of the sample rate, and a folder with noise


@dataclass(frozen=True)
class Condition:
    """One condition at the rate of a model.

    Attributes:
        name: of :data:`CONDITIONS`.
        told: what it is, in words.
        change: of samples.
        sample_rate: hertz.
        added_seconds: how much longer utterances become.
    """

    name: str
    told: str
    change: Change
    sample_rate: int
    added_seconds: float = 0.0

    def __call__(self, waveform: Waveform, utterance: str) -> Waveform:
        """``waveform`` of ``utterance`` (its id) in this condition, never beyond full scale."""
        samples = resample(waveform, self.sample_rate).samples
        rng = np.random.default_rng([SEED, _number(self.name), _number(utterance)])
        return Waveform(limit(self.change(samples, rng)), self.sample_rate)


@dataclass(frozen=True)
class _Kind:
    told: str
    make: Make
    added_seconds: float = 0.0


def _around(digital: float) -> Make:
    """Silence before and after: digital, or faint white noise."""

    def make(sample_rate: int, noise: Path | None) -> Change:
        size = round(AROUND_SECONDS * sample_rate)

        def surround(samples: Samples, rng: np.random.Generator) -> Samples:
            level = loudest_level(samples, sample_rate)
            before, after = (faint(size, level, digital, HISS_DB, rng) for _ in range(2))
            return np.concatenate([before, samples, after])

        return surround

    return make


def _gain(sample_rate: int, noise: Path | None) -> Change:
    return Gain(min_db=GAIN_DB, max_db=GAIN_DB, probability=1.0, bits=16)


def _line(coding: str, whole_band: float) -> Make:
    config = TelephoneConfig(codings=(coding,), probability=1.0, whole_band=whole_band)
    return lambda sample_rate, noise: Telephone(config, sample_rate)


def _noise(sample_rate: int, noise: Path | None) -> Change:
    if noise is None:
        return AddNoise(SNR_DB, SNR_DB, probability=1.0, colours=("pink",))
    return AddRecordedNoise(RecordedNoiseConfig(str(noise), SNR_DB, SNR_DB, 1.0), sample_rate)


CONDITIONS: Mapping[str, _Kind] = {
    "silence": _Kind("0.5 s of digital silence before and after", _around(1.0), 1.0),
    "hiss": _Kind("0.5 s of white noise before and after, at -50 dB", _around(0.0), 1.0),
    "gain": _Kind("-40 dB, in 16 bits", _gain),
    "8khz": _Kind("sampled at 8 kHz", _line("none", 1.0)),
    "mulaw": _Kind("sampled at 8 kHz, in mu-law", _line("mulaw", 1.0)),
    "telephone": _Kind("300 to 3400 Hz, in mu-law", _line("mulaw", 0.0)),
    "noise": _Kind("noise at 10 dB", _noise),
}


def chosen_conditions(text: str) -> tuple[str, ...]:
    """The names of a list ``A,B``, each once, or of all conditions for ``all``.

    Raises:
        ConfigError: one is unknown.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if names == (ALL,):
        return tuple(CONDITIONS)
    for name in names:
        if name not in CONDITIONS:
            raise ConfigError(
                f"{name!r} names no condition",
                remedy=f"choose of {', '.join(CONDITIONS)}, or {ALL}",
            )
    return names


def make_conditions(
    names: Sequence[str], sample_rate: int, noise: Path | None = None
) -> dict[str, Condition]:
    """The conditions of ``names`` for a model's rate; ``noise`` is a folder with recordings.

    Without recordings the noise is pink.

    Raises:
        AudioError: the folder has no audio, or audio that cannot be used.
    """
    kinds = {name: CONDITIONS[name] for name in names}
    return {
        name: Condition(
            name, kind.told, kind.make(sample_rate, noise), sample_rate, kind.added_seconds
        )
        for name, kind in kinds.items()
    }


def _number(name: str) -> int:
    return zlib.crc32(os.fsencode(name))
