"""How loud audio is that comes in pieces, frame by frame."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["FrameLevels"]


class FrameLevels:
    """Levels of frames of ``size`` samples, which follow each other without overlap.

    A level is the mean power about the frame's mean in decibels, where 0 dB is 1 and -inf digital
    silence. The pieces that samples come in change no bit of it.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._samples = np.empty(0, np.float32)  # of a frame that is not whole
        self._levels: NDArray[np.float64] = np.empty(0)
        self._last = -math.inf

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take in ``samples (N,)``."""
        self._samples = np.concatenate([self._samples, samples])
        whole = len(self._samples) // self._size * self._size
        if whole:
            frames = self._samples[:whole].reshape(-1, self._size)
            self._levels = np.concatenate([self._levels, _decibels(frames)])
            self._samples = self._samples[whole:].copy()

    def take(self, count: int) -> NDArray[np.float64]:
        """The levels of the next ``count`` frames ``(count,)``, which are then forgotten.

        Frames whose audio has not all come, as at the end of a recording, are as loud as the last.
        """
        taken, self._levels = self._levels[:count], self._levels[count:]
        if len(taken):
            self._last = float(taken[-1])
        return np.append(taken, np.full(count - len(taken), self._last))


def _decibels(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of ``frames (T, N)``, each ``(T,)``."""
    power = frames.var(axis=1, dtype=np.float64)
    with np.errstate(divide="ignore"):
        levels: NDArray[np.float64] = 10 * np.log10(power)
    return levels
