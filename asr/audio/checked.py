"""An open recording, of a coding that is read, whose samples are all there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from asr.audio.limits import AudioLimits, Meter, check_format
from asr.audio.links import Link, cut_short
from asr.audio.sndfile import SoundFile, UnreadableError, open_container
from asr.types import AudioError

__all__ = ["checked_blocks", "open_link"]

# What libsndfile calls what is read. It guesses: bytes that begin as RIFF may be something else to
# it; MP3 may hide in WAV, and writes to stderr.
FORMATS = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "NIST"}
CODINGS = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
CODINGS |= {"IMA_ADPCM", "MS_ADPCM", "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32", "G721_32"}
CODINGS |= {"GSM610", "VORBIS", "OPUS"}


@contextmanager
def open_link(link: Link, limits: AudioLimits | None = None) -> Iterator[SoundFile]:
    """Open one recording.

    Raises:
        AudioError: libsndfile does not read it, it is of a coding that is not read here, or of a
            rate or a number of channels beyond ``limits``.
    """
    try:
        with open_container(link.parts) as file:
            if not _is_read(file, link.container):
                kind = file.coding if file.container in FORMATS else file.container
                raise AudioError(f"{kind} audio is not accepted", remedy="use WAV, FLAC or OGG")
            if limits is not None:
                check_format(file.sample_rate, file.channels, limits)
            yield file
    except UnreadableError:
        raise AudioError(
            f"the {link.container} audio is damaged or cut short",
            remedy="send a complete recording",
        ) from None


def _is_read(file: SoundFile, container: str) -> bool:
    if container == "MP3":  # nobody but who reads a file of their own asks for it
        return file.container == "MP3"
    return file.container in FORMATS and file.coding in CODINGS


def checked_blocks(
    file: SoundFile, meter: Meter, start: int = 0, count: int | None = None
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
