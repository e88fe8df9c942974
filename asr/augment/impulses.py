"""Impulse responses of rooms: simulated by image sources."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.augment.change import Samples

__all__ = ["Room", "impulse_response", "random_room"]

SPEED_OF_SOUND = 343.0  # metres per second
SABINE = 0.161  # seconds per metre
MIN_SIZE = (3.0, 3.0, 2.4)  # metres
MAX_SIZE = (10.0, 8.0, 4.0)
MARGIN = 0.4  # metres from each wall
JITTER = 0.08  # metres; without it the images of a box sweep audibly (De Sena et al. 2015)
LOW_HZ = 50.0  # equal signs of all images add up to a rumble

Point = NDArray[np.float64]


@dataclass(frozen=True)
class Room:
    """A box with a microphone and someone who speaks; metres and seconds.

    Attributes:
        size: length, width, height.
        source: where the speaker is.
        microphone: where the microphone is.
        rt60: seconds in which sound falls by 60 dB.
    """

    size: Point
    source: Point
    microphone: Point
    rt60: float

    @property
    def reflection(self) -> float:
        """What a wall leaves of the pressure, by Eyring's formula for ``rt60``."""
        x, y, z = self.size
        volume, surface = x * y * z, 2 * (x * y + y * z + z * x)
        return float(np.exp(-SABINE * volume / (2 * surface * self.rt60)))

    @property
    def distance(self) -> float:
        """From the speaker to the microphone."""
        return float(np.linalg.norm(self.source - self.microphone))


def random_room(
    rt60: tuple[float, float], distance: tuple[float, float], rng: np.random.Generator
) -> Room:
    """A room of a random size, with its two places ``distance`` apart as far as walls allow."""
    size = rng.uniform(MIN_SIZE, MAX_SIZE)
    microphone = rng.uniform(MARGIN, size - MARGIN)
    direction = rng.standard_normal(3)
    source = microphone + direction / np.linalg.norm(direction) * rng.uniform(*distance)
    # A place beyond a wall is mirrored back into the room, and stays off the walls.
    source = np.where(source > size - MARGIN, 2 * (size - MARGIN) - source, source)
    source = np.where(source < MARGIN, 2 * MARGIN - source, source)
    return Room(size, np.clip(source, MARGIN, size - MARGIN), microphone, rng.uniform(*rt60))


def impulse_response(room: Room, sample_rate: int, rng: np.random.Generator) -> Samples:
    """The response ``(N,)`` from the direct sound on, which is 1 at time 0, for ``rt60`` seconds.

    Allen & Berkley, "Image method for efficiently simulating small-room acoustics" (1979), with
    images a few centimetres nearer or farther than their places.
    """
    direct = room.distance
    reach = direct + SPEED_OF_SOUND * room.rt60
    (x, m), (y, n), (z, k) = (_images(room, axis, reach) for axis in range(3))
    flat = np.add.outer(np.square(x), np.square(y))  # (X, Y), squared distances in the plane
    bounces = np.add.outer(m, n)
    response = np.zeros(max(1, round(room.rt60 * sample_rate)))
    for height, more in zip(z, k, strict=True):  # a layer at a time, since there may be millions
        near = flat < reach**2 - height**2
        distances = np.sqrt(flat[near] + height**2)
        reflections = bounces[near] + more
        distances += rng.uniform(-JITTER, JITTER, len(distances)) * (reflections > 0)
        delays = np.rint((distances - direct) / SPEED_OF_SOUND * sample_rate).astype(np.int64)
        inside = (delays >= 0) & (delays < len(response))
        gains = room.reflection ** reflections[inside] * direct / distances[inside]
        response += np.bincount(delays[inside], gains, minlength=len(response))
    return _without_rumble(response, sample_rate)


def _images(room: Room, axis: int, reach: float) -> tuple[Point, NDArray[np.int64]]:
    """Along one axis, where the images of the source are as seen from the microphone.

    Returns:
        Their places, up to ``reach`` away and a little farther, and by how many of the walls across
        this axis each is reflected.
    """
    length, place = room.size[axis], room.source[axis]
    order = np.arange(-int(reach / length) - 1, int(reach / length) + 2)
    # Image number n lies in the n-th copy of the room; odd copies are mirrored.
    places = order * length + np.where(order % 2, length - place, place)
    return places - room.microphone[axis], np.abs(order)


def _without_rumble(response: NDArray[np.float64], sample_rate: int) -> Samples:
    """Take away what is lower than speech; the direct sound is 1 again."""
    size = 2 * len(response)
    spectrum = np.fft.rfft(response, size)
    hertz = np.fft.rfftfreq(size, 1 / sample_rate)
    clean = np.fft.irfft(spectrum * np.minimum(hertz / LOW_HZ, 1.0), size)[: len(response)]
    return np.asarray(clean / clean[0], dtype=np.float32)
