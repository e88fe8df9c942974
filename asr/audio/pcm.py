"""Samples without a header, and many channels made one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr.audio.limits import DEFAULT_LIMITS, AudioLimits, check_bytes, check_format, check_length
from asr.types import AudioError, Waveform

__all__ = ["BLOCK_FRAMES", "Mono", "decode_pcm"]

BLOCK_FRAMES = 65_536
LOUDEST = 1e6  # of full scale 1; floats may exceed 1, but squares must not overflow


def mulaw_levels() -> NDArray[np.float32]:
    """What the 256 codes of mu-law mean, in [-1, 1]: ``(256,)`` (ITU-T G.711, table 2a)."""
    code = ~np.arange(256, dtype=np.uint8)  # all bits are sent inverted
    exponent, mantissa = (code >> 4 & 7).astype(int), (code & 15).astype(int)
    size = ((2 * mantissa + 33) << exponent) - 33  # of 14 bits with the sign
    levels: NDArray[np.float32] = (np.where(code & 0x80, -size, size) / 8192).astype(np.float32)
    return levels


def alaw_levels() -> NDArray[np.float32]:
    """What the 256 codes of A-law mean, in [-1, 1]: ``(256,)`` (ITU-T G.711, table 1a)."""
    code = np.arange(256, dtype=np.uint8) ^ np.uint8(0x55)  # every other bit is sent inverted
    exponent, mantissa = (code >> 4 & 7).astype(int), (code & 15).astype(int)
    steep = (2 * mantissa + 33) << np.maximum(exponent - 1, 0)
    size = np.where(exponent == 0, 2 * mantissa + 1, steep)  # of 13 bits with the sign
    levels: NDArray[np.float32] = (np.where(code & 0x80, size, -size) / 4096).astype(np.float32)
    return levels


PCM_TYPES = {"LINEAR16": "i2", "FLOAT": "f4", "MULAW": "u1", "ALAW": "u1"}
LEVELS = {"MULAW": mulaw_levels(), "ALAW": alaw_levels()}


class Mono:
    """Takes blocks of at most ``frames`` frames and keeps one sample of each frame.

    It is the sample of ``channel`` (from 0) or the mean of all, so that eight channels never lie in
    memory as a whole. ``frames`` must have been checked: that much memory is reserved, though the
    system gives it only as samples arrive.
    """

    def __init__(self, frames: int, channels: int, channel: int | None) -> None:
        if channel is not None and not 0 <= channel < channels:
            raise AudioError(
                f"there is no channel {channel}", remedy=f"choose 0 to {channels - 1}, or none"
            )
        self.count = 0
        self._samples = np.empty(frames, np.float32)
        self._channel = 0 if channels == 1 else channel

    def add(self, block: NDArray[np.float32]) -> None:
        """Keep what is wanted of ``block``, ``(N, C)``.

        Raises:
            AudioError: a sample of any channel is not a number, or absurdly loud.
        """
        _check_usable(block, self.count)
        kept = self._samples[self.count : self.count + len(block)]
        if self._channel is None:
            block.mean(axis=1, out=kept)
        else:
            kept[:] = block[:, self._channel]
        self.count += len(block)

    def samples(self) -> NDArray[np.float32]:
        """What was kept, ``(N,)``.

        Raises:
            AudioError: nothing was.
        """
        if not self.count:
            raise AudioError("the audio has no samples", remedy="send a recording of some length")
        if self.count == len(self._samples):
            return self._samples
        return self._samples[: self.count].copy()


def decode_pcm(
    data: bytes | bytearray,
    *,
    encoding: str,
    sample_rate: int,
    channels: int = 1,
    byte_order: str = "little",
    limits: AudioLimits = DEFAULT_LIMITS,
    channel: int | None = None,
) -> Waveform:
    """Decode interleaved samples without a header.

    ``encoding`` is ``LINEAR16`` (signed integers), ``FLOAT`` (32 bits), ``MULAW`` or ``ALAW`` (8
    bits, ITU-T G.711). Several channels are averaged, or ``channel`` (from 0) is taken alone.

    Raises:
        AudioError: unknown encoding, cut samples, no such channel, not finite, absurdly loud, or
            beyond ``limits``.
    """
    check_bytes(len(data), limits)
    if encoding not in PCM_TYPES or byte_order not in ("little", "big"):
        raise AudioError(
            f"unknown encoding {encoding!r} ({byte_order}-endian)",
            remedy=f"use {', '.join(PCM_TYPES)}, little or big",
        )
    check_format(sample_rate, channels, limits)
    kind = np.dtype(("<" if byte_order == "little" else ">") + PCM_TYPES[encoding])
    frames, rest = divmod(len(data), kind.itemsize * channels)
    if rest:
        raise AudioError(
            f"{len(data)} bytes are not whole frames of {kind.itemsize * channels} bytes",
            remedy="check encoding and channel count",
        )
    check_length(frames, sample_rate, channels, len(data), limits)
    coded = np.frombuffer(data, kind).reshape(-1, channels)  # (N, C)
    mono = Mono(frames, channels, channel)
    for start in range(0, frames, BLOCK_FRAMES):
        mono.add(_decode(coded[start : start + BLOCK_FRAMES], encoding))
    return Waveform(mono.samples(), sample_rate)


def _decode(coded: NDArray[np.generic], encoding: str) -> NDArray[np.float32]:
    if encoding in LEVELS:
        return LEVELS[encoding][coded.astype(np.intp)]
    samples = coded.astype(np.float32)
    if encoding == "LINEAR16":
        samples /= 32768.0
    return samples


def _check_usable(block: NDArray[np.float32], frames_before: int) -> None:
    if block.max() <= LOUDEST and block.min() >= -LOUDEST:  # NaN is not
        return
    usable = (np.abs(block) <= LOUDEST).all(axis=1)
    first = int(np.argmin(usable))
    finite = np.isfinite(block[first]).all()
    raise AudioError(
        f"sample {frames_before + first} is "
        + ("far outside [-1, 1]" if finite else "not a finite number"),
        remedy="repair the recording or its float encoding",
    )
