"""Bytes or files to waveforms, within limits.

Containers are chosen by their own first bytes from a short list, never by a file's name. What the
header says is checked against the limits before samples are read or allocated, and against what is
there: all of a recording is read, or an error says how much of it is missing. Where the header says
nothing the limits hold block by block. Several channels become one block by block as well.
:mod:`asr.audio.pcm` reads samples without a header.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from asr.audio.checked import checked_blocks, open_link
from asr.audio.containers import Data
from asr.audio.limits import DEFAULT_LIMITS, AudioLimits, Meter, check_bytes
from asr.audio.link import Link
from asr.audio.links import links_of
from asr.audio.mapped import mapped
from asr.audio.mono import Mono
from asr.audio.pcm import decode_pcm
from asr.audio.sndfile import encode_wav
from asr.files.read import open_input
from asr.files.write import write_bytes
from asr.types import AudioError, Waveform

__all__ = [
    "AudioInfo",
    "AudioLimits",
    "count_channels",
    "decode_audio",
    "decode_links",
    "decode_pcm",
    "measure",
    "probe",
    "read_audio",
    "resample",
    "write_wav",
]


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
    data: Data,
    *,
    limits: AudioLimits = DEFAULT_LIMITS,
    channel: int | None = None,
    container: str | None = None,
) -> Waveform:
    """Decode a recording with a header at its own rate.

    WAV (also RIFX, RF64, BW64), W64, AIFF, AU, CAF, FLAC, OGG (Vorbis, Opus, FLAC), NIST SPHERE and
    MP3 are read, and where the extra ``formats`` is installed MP4 (M4A, QuickTime), WebM (Matroska)
    and AAC: of these the first track of sound. Recordings that follow each other, as in a chained
    Ogg file, become one at the rate of the first. Several channels are averaged, or ``channel``
    (from 0) is taken alone. ``container``, a name of :data:`asr.audio.containers.READ`, demands
    that one.

    Raises:
        AudioError: not such audio, empty, cut short, damaged, not finite, absurdly loud, or beyond
            ``limits``.
        MissingPackageError: it needs the extra ``formats``, which is not installed.
    """
    check_bytes(len(data), limits)
    return decode_links(links_of(data, container), len(data), limits, channel)


def decode_links(
    links: Sequence[Link], size: int, limits: AudioLimits, channel: int | None = None
) -> Waveform:
    """The recordings among ``size`` bytes as one, as :func:`decode_audio` gives it.

    Raises:
        AudioError, MissingPackageError: see there.
    """
    meter = Meter(size, limits)
    return _join([_decode(link, channel, limits, meter) for link in links])


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
    """How long a file is, of all its recordings, without keeping samples.

    Headers tell; where one does not (FLAC from a pipe), the samples are counted.

    Raises:
        AudioError: the file is missing, not audio of a known container, or cut short.
    """
    with mapped(path) as data:
        return measure(links_of(data))


def resample(waveform: Waveform, sample_rate: int) -> Waveform:
    """Convert to another rate with soxr at high quality; the same rate returns the same object.

    A constant stays one: there is no step at its ends, which soxr would take for a sound.
    """
    if waveform.sample_rate == sample_rate:
        return waveform
    samples = soxr.resample(waveform.samples, waveform.sample_rate, sample_rate, quality="HQ")
    if len(samples) and waveform.samples.max() == waveform.samples.min():
        samples[:] = waveform.samples[0]
    return Waveform(np.ascontiguousarray(samples, dtype=np.float32), sample_rate)


def write_wav(path: str | os.PathLike[str], waveform: Waveform) -> None:
    """Write 16-bit WAV; the file appears whole or not at all.

    Raises:
        AudioError: the file cannot be written.
    """
    try:
        write_bytes(path, encode_wav(waveform))
    except OSError as error:
        raise AudioError(
            f"cannot write the file: {error.strerror}",
            where=str(path),
            remedy="check the folder and the space left",
        ) from None


def _decode(link: Link, channel: int | None, limits: AudioLimits, meter: Meter) -> Waveform:
    with open_link(link, limits) as file:
        meter.check(file.frames or 0, file.sample_rate, file.channels)
        mono = Mono(file.frames, file.channels, channel)
        for block in checked_blocks(file, meter):
            mono.add(block)
        return Waveform(mono.samples(), file.sample_rate)


def _join(recordings: Sequence[Waveform]) -> Waveform:
    """One after the other, at the rate of the first."""
    first = recordings[0]
    if len(recordings) == 1:
        return first
    samples = [resample(recording, first.sample_rate).samples for recording in recordings]
    return Waveform(np.concatenate(samples), first.sample_rate)


def count_channels(data: Data, container: str | None = None) -> int:
    """How many channels a recording with a header has; of several recordings, the first.

    Raises:
        AudioError: see :func:`decode_audio`.
    """
    with open_link(links_of(data, container)[0]) as file:
        return file.channels


def measure(links: Sequence[Link]) -> AudioInfo:
    """How long the recordings are together, at the rate of the first.

    Headers of MP4 and WebM tell it to a few milliseconds only.
    """
    total, rate, channels = 0, 0, 0
    for link in links:
        with open_link(link) as file:
            frames = file.expected
            if frames is None:
                frames = sum(len(block) for block in file.blocks())
        rate, channels = rate or file.sample_rate, channels or file.channels
        total += round(frames * rate / file.sample_rate)
    return AudioInfo(total, rate, channels)
