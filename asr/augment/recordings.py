"""Recordings to draw from: noises, impulse responses."""

from __future__ import annotations

import numpy as np

from asr.audio import AudioLimits, probe, read_audio, resample
from asr.augment.change import Samples
from asr.files.find import find_audio
from asr.types import AudioError

__all__ = ["Recordings", "span"]

KEPT_SECONDS = 3600.0  # 230 MB at 16 kHz
LIMITS = AudioLimits(max_bytes=2**30, max_seconds=36_000.0, max_decoded_bytes=2**36)


class Recordings:
    """The audio files in a folder and below it, at one rate.

    They are read when this is made, in the order of their names, until :data:`KEPT_SECONDS` are in
    memory; processes that are forked from this one share them. Those beyond are read each time that
    they are drawn.

    Raises:
        AudioError: there are none, or one cannot be used.
    """

    def __init__(self, folder: str, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.paths = [source.path for source in find_audio([folder])]
        self._kept: list[Samples] = []
        seconds = 0.0
        for path in self.paths:
            seconds += probe(path).duration
            if seconds <= KEPT_SECONDS:
                self._kept.append(self._read(path))

    def draw(self, rng: np.random.Generator) -> Samples:
        """All samples ``(N,)`` of one file, each as likely as the others."""
        index = int(rng.integers(len(self.paths)))
        if index < len(self._kept):
            return self._kept[index]
        return self._read(self.paths[index])

    def _read(self, path: str) -> Samples:
        samples = resample(read_audio(path, limits=LIMITS), self.sample_rate).samples
        if not len(samples):
            raise AudioError("the recording is too short", where=path, remedy="remove it")
        return samples


def span(samples: Samples, size: int, rng: np.random.Generator) -> Samples:
    """``size`` samples from a random place on; what is shorter is repeated, again and again."""
    spare = len(samples) - size
    if spare >= 0:
        start = int(rng.integers(spare + 1))
        return samples[start : start + size]
    start = int(rng.integers(len(samples)))
    return np.take(samples, np.arange(start, start + size), mode="wrap")
