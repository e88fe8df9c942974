"""What every change of a waveform is, and what several of them need."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asr.types import ConfigError

__all__ = [
    "Change",
    "Samples",
    "check_least",
    "check_probability",
    "check_range",
    "decibels",
    "happens",
    "mix",
]

Samples = NDArray[np.float32]


class Change(Protocol):
    """A change of a waveform that leaves its text true. All chance is from ``rng``."""

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Map ``(N,)`` to ``(M,)``; ``samples`` stay as they are."""
        ...


def happens(probability: float, rng: np.random.Generator) -> bool:
    """True in a share of ``probability`` of the calls."""
    return bool(rng.random() < probability)


def decibels(db: float) -> float:
    """The factor on samples that changes their level by ``db``."""
    return float(10 ** (db / 20))


def mix(samples: Samples, noise: NDArray[Any], snr_db: float) -> Samples:
    """Add ``noise (N,)`` to ``samples (N,)`` at a signal-to-noise ratio.

    The ratio is that of the mean powers of both over all N, pauses included. Silence stays silent
    if either of them is.
    """
    power = _power(noise)
    if not power:
        return samples
    scale = math.sqrt(_power(samples) / power) / decibels(snr_db)
    return np.asarray(samples + noise * scale, dtype=np.float32)


def _power(samples: NDArray[Any]) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def check_probability(where: str, **values: float) -> None:
    """Refuse what is no probability.

    Raises:
        ConfigError: the first of ``values`` outside [0, 1], of the options ``where``.
    """
    for name, value in values.items():
        if not 0.0 <= value <= 1.0:  # false for NaN too
            raise ConfigError(f"{name} is {value}", where=where, remedy="give a number in [0, 1]")


def check_range(where: str, least: float = -math.inf, **ends: float) -> None:
    """Refuse a range whose two ``ends`` are not finite, at least ``least``, and in order.

    Raises:
        ConfigError: they are not; it names the options ``where``.
    """
    (low, bottom), (high, top) = ends.items()
    if not (least <= bottom <= top and math.isfinite(bottom) and math.isfinite(top)):
        wanted = f"{low} <= {high}" if least == -math.inf else f"{least:g} <= {low} <= {high}"
        raise ConfigError(
            f"{low} is {bottom} and {high} is {top}", where=where, remedy=f"use {wanted}"
        )


def check_least(where: str, least: float, **values: float) -> None:
    """Refuse what is not a finite number of at least ``least``.

    Raises:
        ConfigError: the first such of ``values``, of the options ``where``.
    """
    for name, value in values.items():
        if not least <= value < math.inf:
            raise ConfigError(
                f"{name} is {value}", where=where, remedy=f"give a number of at least {least:g}"
            )
