"""An open recording, of a coding that is read, whose samples are all there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asr.audio.containers import READ
from asr.audio.ffmpeg import FORMATS, open_ffmpeg
from asr.audio.limits import AudioLimits, Meter, check_format
from asr.audio.link import Link, cut_short
from asr.audio.parts import UnreadableError
from asr.audio.sndfile import SoundFile, open_container
from asr.types import AudioError

__all__ = ["AudioFile", "checked_blocks", "open_link"]

# What libsndfile calls what is read. It guesses: bytes that begin as RIFF may be something else to
# it, and MP3 may hide in WAV.
CONTAINERS = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "NIST"}
CODINGS = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
CODINGS |= {"IMA_ADPCM", "MS_ADPCM", "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32", "G721_32"}
CODINGS |= {"GSM610", "VORBIS", "OPUS"}


class AudioFile(Protocol):
    """An open file, libsndfile's or FFmpeg's; see :class:`asr.audio.sndfile.SoundFile`."""

    sample_rate: int
    channels: int
    frames: int | None

    @property
    def expected(self) -> int | None:
        """How many frames there are about."""
        ...

    def blocks(self, start: int = 0, count: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Blocks ``(N, C)``, each to be used before the next is asked for."""
        ...


@contextmanager
def open_link(link: Link, limits: AudioLimits | None = None) -> Iterator[AudioFile]:
    """Open one recording.

    Raises:
        AudioError: no decoder reads it, it is of a coding that is not read here, or of a rate or a
            number of channels beyond ``limits``.
        MissingPackageError: it needs the extra ``formats``, which is not installed.
    """
    try:
        with _open(link) as file:
            if not file.sample_rate or not file.channels:
                raise AudioError(
                    "the audio has no samples", remedy="send a recording of some length"
                )
            if limits is not None:
                check_format(file.sample_rate, file.channels, limits)
            yield file
    except UnreadableError:
        raise AudioError(
            f"the {link.container} audio is damaged or cut short",
            remedy="send a complete recording",
        ) from None


@contextmanager
def _open(link: Link) -> Iterator[AudioFile]:
    if link.container in FORMATS or link.container not in READ:
        with open_ffmpeg(link) as foreign:
            yield foreign
        return
    with open_container(link.parts, is_loud=link.container == "MP3") as file:
        if not _is_read(file, link.container):
            kind = file.coding if file.container in CONTAINERS else file.container
            raise AudioError(f"{kind} audio is not accepted", remedy="use WAV, FLAC or OGG")
        if link.frames is not None:
            file.frames = link.frames
        yield file


def _is_read(file: SoundFile, container: str) -> bool:
    if container == "MP3":
        return file.container == "MP3"
    return file.container in CONTAINERS and file.coding in CODINGS


def checked_blocks(
    file: AudioFile, meter: Meter, start: int = 0, count: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Blocks ``(N, C)``, each to be used before the next is asked for.

    Of ``count`` frames from ``start`` on as many are given as the file says that it has.

    Raises:
        AudioError: the samples break off before, are damaged, or are beyond the meter's limits.
    """
    rate, channels, frames = file.sample_rate, file.channels, file.frames
    place = start
    try:
        for block in file.blocks(start, count):
            place += len(block)
            meter.check(place - start, rate, channels)
            yield block
    except UnreadableError:
        raise AudioError(
            f"the audio is damaged or cut short after {place / rate:.2f}"
            + ("" if frames is None else f" of {frames / rate:.2f}")
            + " s",
            remedy="send the whole recording; ffmpeg -i IN OUT makes a whole one of what is left",
        ) from None
    if frames is not None and place < min(frames, frames if count is None else start + count):
        raise cut_short(place, frames, rate, "samples")
    meter.add(place - start, rate, channels)
