"""Bytes or files to waveforms, within limits. The only importer of soundfile.

Containers are chosen by their own first bytes from a short list, never by a file's name. What the
header says is checked against the limits before samples are read or allocated; it bounds what
libsndfile gives, since a header that lies low ends the audio where it says. Several channels become
one block by block. :mod:`asr.audio.pcm` reads samples without a header.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from asr.audio.limits import DEFAULT_LIMITS, AudioLimits, check_bytes, check_format, check_length
from asr.audio.pcm import BLOCK_FRAMES, Mono, decode_pcm
from asr.files.read import open_input
from asr.files.write import write_bytes
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

MAGIC = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "OGG", b"NIST_1A": "NIST"}  # their first bytes
FORMATS = {"WAV", "WAVEX", "FLAC", "OGG", "NIST"}  # what libsndfile calls them
UNKNOWN_FRAMES = 2**62  # and more: the header does not tell; FLAC counts in 36 bits


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


def decode_audio(
    data: bytes | bytearray,
    *,
    limits: AudioLimits = DEFAULT_LIMITS,
    channel: int | None = None,
    container: str | None = None,
) -> Waveform:
    """Decode WAV, FLAC, OGG (Vorbis, Opus) or NIST SPHERE bytes at their own rate.

    Several channels are averaged, or ``channel`` (from 0) is taken alone. ``container`` (``WAV``,
    ``FLAC``, ``OGG`` or ``NIST``) demands that one and no other.

    Raises:
        AudioError: not such audio, empty, truncated, not finite, absurdly loud, or beyond
            ``limits``.
    """
    check_bytes(len(data), limits)
    _check_container(data, container)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            return _read(file, len(data), channel, limits)
    except (soundfile.SoundFileError, RuntimeError, ValueError, OSError):
        if data.startswith(b"NIST_1A") and b"embedded-shorten" in data[:1024]:
            raise AudioError(
                "the audio is SPHERE compressed by shorten", remedy="unpack it with sph2pipe"
            ) from None
        raise AudioError(
            "the audio is damaged or truncated", remedy="send a complete WAV, FLAC or OGG file"
        ) from None


def read_audio(
    path: str | os.PathLike[str],
    *,
    limits: AudioLimits = DEFAULT_LIMITS,
    channel: int | None = None,
) -> Waveform:
    """Read a file, a pipe, or standard input (``-``) as :func:`decode_audio` does; errors name it.

    Raises:
        AudioError: the file is missing or unreadable, or its content is refused.
    """
    try:
        with open_input(path) as file:
            data = file.read(limits.max_bytes + 1)
    except OSError as error:
        raise AudioError(
            f"cannot read the file: {error.strerror}", where=str(path), remedy="check the path"
        ) from None
    try:
        return decode_audio(data, limits=limits, channel=channel)
    except AudioError as error:
        raise error.at(str(path)) from None


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """Read a file's header alone.

    Raises:
        AudioError: the file is missing or not audio of a known container.
    """
    try:
        with open(path, "rb") as file:
            _check_container(file.read(16), None)
        info = soundfile.info(os.fsencode(path))
    except AudioError as error:
        raise error.at(str(path)) from None
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
    try:
        write_bytes(path, buffer.getvalue())
    except OSError as error:
        raise AudioError(
            f"cannot write the file: {error.strerror}",
            where=str(path),
            remedy="check the folder and the space left",
        ) from None


def _check_container(data: bytes | bytearray, wanted: str | None) -> None:
    found = next((name for magic, name in MAGIC.items() if data.startswith(magic)), None)
    if wanted is not None and found != wanted:
        raise AudioError(
            f"the audio is not {wanted}" + (f" but {found}" if found else ""),
            remedy="name its own container, or none so that its first bytes tell",
        )
    if found is None:
        raise AudioError(
            "this is not audio of a known container",
            remedy="use WAV, FLAC, OGG (Vorbis, Opus) or NIST SPHERE; raw samples need their "
            "encoding and rate named",
        )


def _read(file: Any, encoded_bytes: int, channel: int | None, limits: AudioLimits) -> Waveform:
    """The samples of an open file, after its header has been checked."""
    rate, channels, frames = int(file.samplerate), int(file.channels), int(file.frames)
    # libsndfile guesses: bytes that begin as RIFF may be something else to it. MP3 may hide in WAV.
    if file.format not in FORMATS or file.subtype.startswith("MPEG"):
        kind = file.format if file.format not in FORMATS else "MP3"
        raise AudioError(f"{kind} audio is not accepted", remedy="use WAV, FLAC or OGG")
    check_format(rate, channels, limits)
    if frames >= UNKNOWN_FRAMES:
        raise AudioError(
            "the header does not say how long the audio is",
            remedy="write it to a file, not to a pipe, so that its encoder can complete the header",
        )
    check_length(frames, rate, channels, encoded_bytes, limits)
    mono = Mono(frames, channels, channel)
    space = np.empty((min(frames, BLOCK_FRAMES), channels), np.float32)
    while mono.count < frames:
        block: NDArray[np.float32] = file.read(dtype="float32", always_2d=True, out=space)  # (N, C)
        if not len(block):
            break
        mono.add(block[: frames - mono.count])
    return Waveform(mono.samples(), rate)
