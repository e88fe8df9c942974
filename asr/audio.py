"""Bytes or files to waveforms, within limits. The only importer of soundfile.

Containers are chosen by their own first bytes from a short list, never by a file's name. Sizes are
checked against the limits before samples are allocated, in small steps for compressed audio, since
headers lie.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from asr.types import AudioError, Waveform

__all__ = [
    "AudioInfo",
    "AudioLimits",
    "decode_audio",
    "decode_pcm",
    "probe",
    "read_audio",
    "resample",
    "write_wav",
]

CONTAINERS = {  # first bytes -> what libsndfile calls the container
    b"RIFF": ("WAV", "WAVEX"),
    b"fLaC": ("FLAC",),
    b"OggS": ("OGG",),
    b"NIST_1A": ("NIST",),
}
PCM_TYPES = {"LINEAR16": "i2", "FLOAT": "f4"}
LOUDEST = 1e6  # of full scale 1; floats may exceed 1, but squares must not overflow
BLOCK_FRAMES = 65_536


@dataclass(frozen=True)
class AudioLimits:
    """What is accepted: bytes of the encoded audio, seconds, hertz and channels."""

    max_bytes: int = 64 * 1024 * 1024
    max_seconds: float = 600.0
    min_rate: int = 4_000
    max_rate: int = 192_000
    max_channels: int = 8


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says."""

    num_samples: int
    sample_rate: int
    channels: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_samples / self.sample_rate


DEFAULT_LIMITS = AudioLimits()


def decode_audio(
    data: bytes, *, limits: AudioLimits = DEFAULT_LIMITS, channel: int | None = None
) -> Waveform:
    """Decode WAV, FLAC, OGG (Vorbis, Opus) or NIST SPHERE bytes at their own rate.

    Several channels are averaged, or ``channel`` (from 0) is taken alone.

    Raises:
        AudioError: not such audio, empty, truncated, not finite, absurdly loud, or beyond
            ``limits``.
    """
    _check_bytes(len(data), limits)
    _check_container(data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _check_header(file, limits)
            samples = _read(file, limits)  # (N, C)
            rate = int(file.samplerate)
    except (soundfile.SoundFileError, RuntimeError, ValueError, OSError):
        if data.startswith(b"NIST_1A") and b"embedded-shorten" in data[:1024]:
            raise AudioError(
                "the audio is SPHERE compressed by shorten", remedy="unpack it with sph2pipe"
            ) from None
        raise AudioError(
            "the audio is damaged or truncated", remedy="send a complete WAV, FLAC or OGG file"
        ) from None
    return Waveform(_mono(samples, channel), rate)


def decode_pcm(
    data: bytes,
    *,
    encoding: str,
    sample_rate: int,
    channels: int = 1,
    byte_order: str = "little",
    limits: AudioLimits = DEFAULT_LIMITS,
    channel: int | None = None,
) -> Waveform:
    """Decode interleaved samples without a header: ``LINEAR16`` integers or ``FLOAT`` (32 bits).

    Raises:
        AudioError: unknown encoding, cut samples, or anything :func:`decode_audio` refuses.
    """
    _check_bytes(len(data), limits)
    if encoding not in PCM_TYPES or byte_order not in ("little", "big"):
        raise AudioError(
            f"unknown encoding {encoding!r} ({byte_order}-endian)",
            remedy="use LINEAR16 or FLOAT, little or big",
        )
    _check_format(sample_rate, channels, limits)
    kind = np.dtype(("<" if byte_order == "little" else ">") + PCM_TYPES[encoding])
    step = kind.itemsize * channels
    if len(data) % step:
        raise AudioError(
            f"{len(data)} bytes are not whole frames of {step} bytes",
            remedy="check encoding and channel count",
        )
    _check_seconds(len(data) // step, sample_rate, limits)
    samples = np.frombuffer(data, kind).reshape(-1, channels).astype(np.float32)
    if encoding == "LINEAR16":
        samples /= 32768.0
    return Waveform(_mono(samples, channel), sample_rate)


def read_audio(
    path: str | os.PathLike[str],
    *,
    limits: AudioLimits = DEFAULT_LIMITS,
    channel: int | None = None,
) -> Waveform:
    """Read a file as :func:`decode_audio` does; errors name the file.

    Raises:
        AudioError: the file is missing or unreadable, or its content is refused.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(limits.max_bytes + 1)
    except OSError as error:
        raise AudioError(
            f"cannot read the file: {error.strerror}", where=str(path), remedy="check the path"
        ) from None
    try:
        return decode_audio(data, limits=limits, channel=channel)
    except AudioError as error:
        raise AudioError(error.what, where=str(path), remedy=error.remedy) from None


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """Read a file's header alone.

    Raises:
        AudioError: the file is missing or not audio of a known container.
    """
    try:
        with open(path, "rb") as file:
            _check_container(file.read(16))
        info = soundfile.info(os.fspath(path))
    except AudioError as error:
        raise AudioError(error.what, where=str(path), remedy=error.remedy) from None
    except OSError as error:
        raise AudioError(
            f"cannot read the file: {error.strerror}", where=str(path), remedy="check the path"
        ) from None
    except (soundfile.SoundFileError, RuntimeError):
        raise AudioError("the audio is damaged", where=str(path)) from None
    return AudioInfo(int(info.frames), int(info.samplerate), int(info.channels))


def resample(waveform: Waveform, sample_rate: int) -> Waveform:
    """Convert to another rate with soxr at high quality; the same rate returns the same object."""
    if waveform.sample_rate == sample_rate:
        return waveform
    samples = soxr.resample(waveform.samples, waveform.sample_rate, sample_rate, quality="HQ")
    return Waveform(np.ascontiguousarray(samples, dtype=np.float32), sample_rate)


def write_wav(path: str | os.PathLike[str], waveform: Waveform) -> None:
    """Write 16-bit WAV; the file appears whole or not at all.

    Raises:
        AudioError: the file cannot be written.
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform.samples, waveform.sample_rate, subtype="PCM_16", format="WAV")
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_bytes(buffer.getvalue())
        partial.replace(target)
    except OSError as error:
        raise AudioError(
            f"cannot write the file: {error.strerror}",
            where=str(path),
            remedy="check the folder and the space left",
        ) from None


def _check_bytes(count: int, limits: AudioLimits) -> None:
    if count == 0:
        raise AudioError("the audio is empty", remedy="send the bytes of a recording")
    if count > limits.max_bytes:
        raise AudioError(
            f"the audio has more than {limits.max_bytes} bytes",
            remedy="cut it into shorter pieces or compress it (FLAC)",
        )


def _check_container(data: bytes) -> None:
    if not any(data.startswith(magic) for magic in CONTAINERS):
        raise AudioError(
            "this is not audio of a known container",
            remedy="use WAV, FLAC, OGG (Vorbis, Opus) or NIST SPHERE; raw samples need their "
            "encoding and rate named",
        )


def _check_header(file: Any, limits: AudioLimits) -> None:
    if file.format not in {name for names in CONTAINERS.values() for name in names}:
        raise AudioError(f"{file.format} audio is not accepted", remedy="use WAV, FLAC or OGG")
    _check_format(file.samplerate, file.channels, limits)


def _check_format(sample_rate: int, channels: int, limits: AudioLimits) -> None:
    if not limits.min_rate <= sample_rate <= limits.max_rate:
        raise AudioError(
            f"the sample rate is {sample_rate} Hz",
            remedy=f"use {limits.min_rate} to {limits.max_rate} Hz",
        )
    if not 1 <= channels <= limits.max_channels:
        raise AudioError(
            f"the audio has {channels} channels", remedy=f"use 1 to {limits.max_channels}"
        )


def _check_seconds(frames: int, sample_rate: int, limits: AudioLimits) -> None:
    if frames > limits.max_seconds * sample_rate:
        raise AudioError(
            f"the audio is longer than {limits.max_seconds:g} s",
            remedy="cut it into shorter pieces",
        )


def _read(file: Any, limits: AudioLimits) -> NDArray[np.float32]:
    """Read block by block, so that a lying header or a bomb stops at the limit: ``(N, C)``."""
    blocks: list[NDArray[np.float32]] = []
    frames = 0
    while True:
        block = file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
        if not len(block):
            break
        frames += len(block)
        _check_seconds(frames, file.samplerate, limits)
        blocks.append(block)
    if not blocks:
        raise AudioError("the audio has no samples", remedy="send a recording of some length")
    return np.concatenate(blocks)


def _mono(samples: NDArray[np.float32], channel: int | None) -> NDArray[np.float32]:
    """One channel of ``(N, C)``, or their mean; checked to be numbers of a sane size."""
    channels = samples.shape[1]
    if channel is not None and not 0 <= channel < channels:
        raise AudioError(
            f"there is no channel {channel}", remedy=f"choose 0 to {channels - 1}, or none"
        )
    if not len(samples):
        raise AudioError("the audio has no samples", remedy="send a recording of some length")
    usable = (np.abs(samples) <= LOUDEST).all(axis=1)  # NaN is not
    if not usable.all():
        first = int(np.argmin(usable))
        finite = np.isfinite(samples[first]).all()
        raise AudioError(
            f"sample {first} is " + ("far outside [-1, 1]" if finite else "not a finite number"),
            remedy="repair the recording or its float encoding",
        )
    mono = samples[:, channel] if channel is not None else samples.mean(axis=1)
    return np.ascontiguousarray(mono, dtype=np.float32)
