"""libsndfile, through soundfile: nothing else imports it. Lengths and limits are not its matter."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.audio.parts import Part, Parts, UnreadableError
from asr.quiet import quiet_c
from asr.types import Waveform

__all__ = ["SoundFile", "encode_flac", "encode_wav", "open_container", "open_raw", "recode"]

UNKNOWN_FRAMES = 2**62  # and more: the header does not tell; FLAC counts in 36 bits
BLOCK_FRAMES = 65_536
FULL_SCALE = 1 - 2**-15  # the greatest sample that 16 bits hold
MP3 = "MPEG_LAYER_III"
FLAC_BLOCK_FRAMES = 4_096  # of what breaks off, the last block is lost
RAW_TYPES = {"LINEAR16": "PCM_16", "FLOAT": "FLOAT", "MULAW": "ULAW", "ALAW": "ALAW"}

CODECS = {  # container and coding
    "mulaw": ("WAV", "ULAW"),
    "alaw": ("WAV", "ALAW"),
    "gsm": ("WAV", "GSM610"),
    "opus": ("OGG", "OPUS"),
}


class SoundFile:
    """An open file: how it is coded, and its samples, once.

    Attributes:
        container, coding: libsndfile's names.
        frames: how many there are; None: the header does not tell.

    ``is_loud``: its decoder writes to stderr whatever it finds odd.
    """

    def __init__(self, file: Any, is_loud: bool = False) -> None:
        self.container = str(file.format)
        self.coding = str(file.subtype)
        self.sample_rate = int(file.samplerate)
        self.channels = int(file.channels)
        self.frames = int(file.frames) if file.frames < UNKNOWN_FRAMES else None
        self._file = file
        self._quiet = quiet_c if is_loud else nullcontext

    @property
    def expected(self) -> int | None:
        """How many frames there are about: where the header tells, it tells it exactly."""
        return self.frames

    def blocks(self, start: int = 0, count: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Blocks ``(N, C)``, each to be used before the next is asked for: they share memory.

        Args:
            start: frames before the first; passed over by a seek where the coding has one.
            count: frames of all blocks together; None: to the end.

        Raises:
            UnreadableError: the samples break off, or are damaged.
        """
        end = None if count is None else start + count
        if self.frames is not None:
            end = self.frames if end is None else min(end, self.frames)
        if end is not None and start >= end:
            return
        place = start if start and self._seek(start) else 0
        for block in self._read_blocks(place, end):
            place += len(block)
            wanted = block[max(len(block) - (place - start), 0) :]
            if len(wanted):
                yield wanted

    def _seek(self, frame: int) -> bool:
        """Go there; False: this coding has to be read from its beginning."""
        if self.frames is None or not self._file.can_seek:
            return False
        with _errors(), self._quiet():
            if self.coding == MP3:
                self._seek_mp3(frame)
            else:
                self._file.seek(frame)
        return True

    def _seek_mp3(self, frame: int) -> None:
        """Go there over the frame before.

        An MP3 frame borrows bits of those before it, which mpg123 misses after a seek: it says so
        on stderr, and decodes some frames more until it has them.
        """
        self._file.seek(frame - 1)
        self._file.read(1)

    def _read_blocks(self, place: int, end: int | None) -> Iterator[NDArray[np.float32]]:
        most = FLAC_BLOCK_FRAMES if self.container == "FLAC" else BLOCK_FRAMES
        space = np.empty((most, self.channels), np.float32)
        while end is None or place < end:
            # Never more than there are: what follows a FLAC stream would be an error to it.
            wanted = most if end is None else min(most, end - place)
            with _errors(), self._quiet():
                block: NDArray[np.float32] = self._file.read(out=space[:wanted])
            if not len(block):
                return
            place += len(block)
            yield block


@contextmanager
def open_container(parts: Sequence[Part], is_loud: bool = False) -> Iterator[SoundFile]:
    """The file whose bytes are ``parts``, one after the other; see :class:`SoundFile`.

    Raises:
        UnreadableError: it is none that libsndfile reads.
    """
    with _errors(), quiet_c() if is_loud else nullcontext():
        file = _Forward(Parts(parts))
    with file:
        yield SoundFile(file, is_loud)


@contextmanager
def open_raw(
    data: Part | bytearray, encoding: str, sample_rate: int, channels: int, byte_order: str
) -> Iterator[SoundFile]:
    """Samples without a header; ``encoding`` is one of :data:`RAW_TYPES`."""
    with _Forward(
        Parts([memoryview(data)]),
        format="RAW",
        subtype=RAW_TYPES[encoding],
        samplerate=sample_rate,
        channels=channels,
        endian=byte_order.upper(),
    ) as file:
        yield SoundFile(file)


def encode_wav(waveform: Waveform) -> bytes:
    """The bytes of a 16-bit WAV file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform.samples, waveform.sample_rate, subtype="PCM_16", format="WAV")
    return buffer.getvalue()


def encode_flac(waveform: Waveform) -> bytes:
    """The bytes of a FLAC file in 16 bits, or in 24 where these do not hold every sample.

    Samples beyond full scale are clipped.
    """
    exact = waveform.samples * np.float32(1 << 15)
    subtype = "PCM_16" if np.array_equal(exact, np.rint(exact)) else "PCM_24"
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform.samples, waveform.sample_rate, subtype=subtype, format="FLAC")
    return buffer.getvalue()


def recode(waveform: Waveform, codec: str, compression: float | None = None) -> Waveform:
    """What is left of ``waveform`` when it was coded and decoded again; as long as it was.

    Args:
        waveform: for ``"gsm"`` at 8 kHz, for ``"opus"`` at 8, 12, 16, 24 or 48 kHz.
        codec: ``"mulaw"`` and ``"alaw"`` (ITU-T G.711), ``"gsm"`` (GSM 6.10), ``"opus"``. What goes
            beyond full scale is clipped, as a line does it.
        compression: from 0 to 1, the smallest file; only Opus heeds it.
    """
    container, coding = CODECS[codec]
    buffer = io.BytesIO()
    samples = np.clip(waveform.samples, -1.0, FULL_SCALE)  # libsndfile's codes wrap beyond it
    soundfile.write(
        buffer,
        samples,
        waveform.sample_rate,
        format=container,
        subtype=coding,
        compression_level=compression,
    )
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, frames=len(samples), dtype="float32", fill_value=0.0)
    return Waveform(decoded, waveform.sample_rate)


class _Forward(soundfile.SoundFile):  # type: ignore[misc]  # it has no types
    """Read from beginning to end, without the seek after each block that soundfile makes.

    FLAC of unknown length could not be sought in, and a seek may change what a lossy codec gives.
    """

    def seekable(self) -> bool:
        return False

    @property
    def can_seek(self) -> bool:
        return bool(super().seekable())


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (soundfile.SoundFileError, RuntimeError, ValueError, OSError) as error:
        raise UnreadableError(str(error)) from None
