"""Samples without a header."""

from __future__ import annotations

from asr.audio.containers import Data, refuse_container
from asr.audio.limits import DEFAULT_LIMITS, AudioLimits, Meter, check_bytes, check_format
from asr.audio.mono import Mono
from asr.audio.sndfile import open_raw
from asr.types import AudioError, Waveform

__all__ = ["check_pcm", "decode_pcm"]

SAMPLE_BYTES = {"LINEAR16": 2, "FLOAT": 4, "MULAW": 1, "ALAW": 1}


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
        AudioError: unknown encoding, a file with a header, cut samples, no such channel, not
            finite, absurdly loud, or beyond ``limits``.
    """
    if encoding not in SAMPLE_BYTES or byte_order not in ("little", "big"):
        raise AudioError(
            f"unknown encoding {encoding!r} ({byte_order}-endian)",
            remedy=f"use {', '.join(SAMPLE_BYTES)}, little or big",
        )
    frames = check_pcm(data, encoding, sample_rate, channels, limits)
    Meter(len(data), limits).check(frames, sample_rate, channels)
    mono = Mono(frames, channels, channel)
    with open_raw(data, encoding, sample_rate, channels, byte_order) as file:
        for block in file.blocks():
            mono.add(block)
    return Waveform(mono.samples(), sample_rate)


def check_pcm(
    data: Data, encoding: str, sample_rate: int, channels: int, limits: AudioLimits
) -> int:
    """The frames that ``data`` is, of a known ``encoding``.

    Raises:
        AudioError: it is a file with a header, not whole frames, or of a rate, channels or bytes
            beyond ``limits``.
    """
    check_bytes(len(data), limits)
    check_format(sample_rate, channels, limits)
    refuse_container(data, encoding)
    frame = SAMPLE_BYTES[encoding] * channels
    frames, rest = divmod(len(data), frame)
    if rest:
        raise AudioError(
            f"{len(data)} bytes are not whole frames of {frame} bytes",
            remedy="check encoding and channel count",
        )
    return frames
