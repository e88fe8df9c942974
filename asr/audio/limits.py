"""How much audio is accepted, told before memory is taken for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from asr.types import AudioError

__all__ = [
    "DEFAULT_LIMITS",
    "EXPANSION_FLOOR",
    "OWN_RECORDINGS",
    "AudioLimits",
    "Meter",
    "TooLongError",
    "check_bytes",
    "check_format",
]

SAMPLE_BYTES = 4  # float32
EXPANSION_FLOOR = 32 * 1024 * 1024


@dataclass(frozen=True)
class AudioLimits:
    """What is accepted: bytes of the encoded audio, seconds, hertz, channels and decoded size.

    Decoded bytes are those of all channels as float32. Lossless and lossy codecs shrink digital
    silence a thousandfold, so a few kilobytes may stand for gigabytes: audio that becomes more than
    ``max_expansion`` times its encoded bytes is refused once it decodes to more than
    ``EXPANSION_FLOOR`` (32 MiB). Below that, compressed silence does no harm and is accepted.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_seconds: float = 600.0
    min_rate: int = 4_000
    max_rate: int = 192_000
    max_channels: int = 8
    max_decoded_bytes: int = 512 * 1024 * 1024
    max_expansion: float = 100.0


DEFAULT_LIMITS = AudioLimits()

# One's own recordings on one's own machine, which are read block by block: no length is too long.
# The bytes are those of a pipe, which are kept on disk.
OWN_RECORDINGS = AudioLimits(
    max_bytes=2**36, max_seconds=math.inf, max_decoded_bytes=2**62, max_expansion=math.inf
)


class TooLongError(AudioError):
    """Audio that is longer, or takes more memory, than may be decoded at once."""


def check_bytes(count: int, limits: AudioLimits) -> None:
    """Raise AudioError unless ``count`` bytes of encoded audio are some and not too many."""
    if count == 0:
        raise AudioError("the audio is empty", remedy="send the bytes of a recording")
    if count > limits.max_bytes:
        raise AudioError(
            f"the audio has more than {limits.max_bytes} bytes",
            remedy="cut it into shorter pieces or compress it (FLAC)",
        )


def check_format(sample_rate: int, channels: int, limits: AudioLimits) -> None:
    """Raise AudioError unless rate (hertz) and channel count are within ``limits``."""
    if not limits.min_rate <= sample_rate <= limits.max_rate:
        raise AudioError(
            f"the sample rate is {sample_rate} Hz",
            remedy=f"use {limits.min_rate} to {limits.max_rate} Hz",
        )
    if not 1 <= channels <= limits.max_channels:
        raise AudioError(
            f"the audio has {channels} channels", remedy=f"use 1 to {limits.max_channels}"
        )


class Meter:
    """Counts what ``encoded_bytes`` decode to, of one recording or several, against ``limits``.

    What a header says is checked before samples are read; what it does not say, block by block.
    """

    def __init__(self, encoded_bytes: int, limits: AudioLimits) -> None:
        self._limits = limits
        self._encoded = encoded_bytes
        self._seconds = 0.0
        self._decoded = 0

    def receive(self, encoded_bytes: int) -> None:
        """Note that so many bytes more have come, which were not known before."""
        self._encoded += encoded_bytes

    def check(self, frames: int, sample_rate: int, channels: int) -> None:
        """Raise AudioError if ``frames`` more expand too much, or are too long or too large."""
        limits = self._limits
        decoded = self._decoded + frames * channels * SAMPLE_BYTES
        if decoded > max(EXPANSION_FLOOR, limits.max_expansion * self._encoded):
            raise AudioError(
                f"the audio expands to more than {limits.max_expansion:g} times its bytes",
                remedy="cut it into shorter pieces, or compress it less",
            )
        # As a quotient, like a duration anywhere else: exact to the frame where frames times a
        # decimal fraction of a second is not.
        if self._seconds + frames / sample_rate > limits.max_seconds:
            raise TooLongError(
                f"the audio is longer than {limits.max_seconds:g} s",
                remedy="cut it into shorter pieces",
            )
        if decoded > limits.max_decoded_bytes:
            raise TooLongError(
                f"the audio decodes to more than {limits.max_decoded_bytes} bytes",
                remedy="cut it into shorter pieces, or send fewer channels or a lower rate",
            )

    def add(self, frames: int, sample_rate: int, channels: int) -> None:
        """Note that ``frames`` were read."""
        self._seconds += frames / sample_rate
        self._decoded += frames * channels * SAMPLE_BYTES
