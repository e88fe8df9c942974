"""Speech as it sounds in a room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr.augment.change import Samples, check_least, check_probability, check_range, happens
from asr.augment.impulses import impulse_response, random_room
from asr.augment.recordings import Recordings
from asr.types import ConfigError

__all__ = ["Reverberate", "RoomConfig"]


@dataclass(frozen=True)
class RoomConfig:
    """A room around a share of the utterances.

    Attributes:
        folder: with impulse responses as audio files; none: rooms are simulated.
        rooms: how many rooms are simulated, each with a speaker at one place.
        min_rt60: seconds in which sound falls by 60 dB, at least, in simulated rooms.
        max_rt60: at most.
        min_distance: metres from the speaker to the microphone, at least, in simulated rooms.
        max_distance: at most, where the room is as large.
        probability: share of the utterances.
    """

    folder: str = ""
    rooms: int = 40
    min_rt60: float = 0.1
    max_rt60: float = 0.6
    min_distance: float = 0.3
    max_distance: float = 3.0
    probability: float = 0.3

    def __post_init__(self) -> None:
        check_least("room", 1, rooms=self.rooms)
        check_range("room", 0.05, min_rt60=self.min_rt60, max_rt60=self.max_rt60)
        if self.max_rt60 > 1.0:
            raise ConfigError(
                f"max_rt60 is {self.max_rt60}",
                where="room",
                remedy="give at most 1 second, or a folder of recorded responses",
            )
        check_range("room", 0.1, min_distance=self.min_distance, max_distance=self.max_distance)
        check_probability("room", probability=self.probability)


class Reverberate:
    """Convolves a share of the utterances with impulse responses; the level stays as it was.

    The direct sound is at time 0, so that words keep their times; what still sounds after the last
    sample is cut off. The rooms are simulated when this is made, always the same ones.

    Raises:
        AudioError: the folder has no audio, or a recording in it cannot be used.
    """

    def __init__(self, config: RoomConfig, sample_rate: int) -> None:
        self.config = config
        self._recorded = Recordings(config.folder, sample_rate) if config.folder else None
        self._simulated = [] if config.folder else _simulate(config, sample_rate)

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """Map ``(N,)`` to ``(N,)``."""
        if not len(samples) or not happens(self.config.probability, rng):
            return samples
        return _convolve(samples, self._draw(rng))

    def _draw(self, rng: np.random.Generator) -> Samples:
        if self._recorded is None:
            return self._simulated[int(rng.integers(len(self._simulated)))]
        response = self._recorded.draw(rng)
        return response[int(np.abs(response).argmax()) :]


def _simulate(config: RoomConfig, sample_rate: int) -> list[Samples]:
    rng = np.random.default_rng(0)
    rt60 = config.min_rt60, config.max_rt60
    distance = config.min_distance, config.max_distance
    rooms = [random_room(rt60, distance, rng) for _ in range(config.rooms)]
    return [impulse_response(room, sample_rate, rng) for room in rooms]


def _convolve(samples: Samples, response: Samples) -> Samples:
    """``samples (N,)`` in the room, as loud as before."""
    size = _fast_length(len(samples) + len(response) - 1)
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    heard = np.asarray(np.fft.irfft(spectrum, size)[: len(samples)], dtype=np.float32)
    loudness = float(np.sqrt(np.mean(np.square(heard, dtype=np.float64))))
    before = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    return heard * np.float32(before / loudness) if loudness else samples


def _fast_length(size: int) -> int:
    """The least number of at least ``size`` that is a power of two, or three or five of them / 2.

    Fourier transforms of such lengths are fast.
    """
    power = 1 << max(size - 1, 1).bit_length()
    return min(length for length in (power, power * 3 // 4, power * 5 // 8) if length >= size)
