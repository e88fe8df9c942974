"""Recordings that only FFmpeg reads, through PyAV: the extra ``formats``.

Of a file that comes from elsewhere its container is told to FFmpeg, which does not guess then, and
so are the codecs that it may open: those of speech and music that people record and upload.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio.link import Link, cut_short
from asr.audio.parts import Parts, UnreadableError
from asr.extras import import_extra
from asr.types import AudioError

__all__ = ["ARRIVING", "FORMATS", "FFmpegFile", "open_arriving", "open_ffmpeg"]

FORMATS = {"MP4": "mov", "WebM": "matroska", "AAC": "aac"}  # as FFmpeg calls them
ARRIVING = {"OGG": "ogg", "WebM": FORMATS["WebM"]}  # that need not be there whole
CODECS = (
    *("aac", "mp3float", "mp3", "mp2float", "mp2", "opus", "libopus", "vorbis", "flac", "alac"),
    *("ac3", "eac3", "amrnb", "amrwb", "pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le"),
    *("pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_mulaw", "pcm_alaw"),
)
MOST_STREAMS = 100
BLOCK_FRAMES = 65_536
PREROLL = 0.5  # seconds decoded before a span: lossy frames build on those before them
MISSING = 0.5  # seconds by which samples may fall short of what the header promises
PADDING = 8_192  # frames at the end that fill the codec's last block
ALAC_FRAMES = 65_536  # in a packet; Apple's have 4,096
FULL_SCALE = {"u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31, "i8": 2.0**63}


class FFmpegFile:
    """An open file's first stream of audio, as :class:`asr.audio.sndfile.SoundFile` has it.

    Attributes:
        container, coding: its kind, and FFmpeg's name of the codec.
        stated_rate: hertz of what was encoded, as the header says; mostly ``sample_rate``.
        frames: None: no header here tells it exactly.
    """

    def __init__(self, av: Any, container: Any, stream: Any, kind: str) -> None:
        self.container = kind
        self.coding = str(stream.codec_context.name)
        self.sample_rate = int(stream.rate or 0)
        self.stated_rate = _stated_rate(stream.codec_context) or self.sample_rate
        self.channels = int(stream.channels or 0)
        self.frames: int | None = None
        self._av = av
        self._file = container
        self._stream = stream
        self._promised = _promised(container, stream)
        self.expected = None if self._promised is None else round(self._promised * self.sample_rate)

    def blocks(self, start: int = 0, count: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Blocks ``(N, C)``; see :meth:`asr.audio.sndfile.SoundFile.blocks`.

        Raises:
            AudioError: rate or channels change, or the end is missing.
            UnreadableError: the samples are damaged.
        """
        end = None if count is None else start + count
        for place, block in _gathered(self._trimmed(start)):
            first = max(start - place, 0)
            wanted = block[first : None if end is None else max(end - place, first)]
            if len(wanted):
                yield wanted
            if end is not None and place + len(block) >= end:
                return

    def packets(self) -> Iterator[NDArray[np.float32]]:
        """All samples ``(N, C)``, each packet's as soon as its bytes have been read.

        Raises:
            AudioError, UnreadableError: see :meth:`blocks`.
        """
        for _, block in self._trimmed(0):
            yield block

    def _trimmed(self, start: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Without what fills up the last packet, beyond the length that an MP4 file states."""
        promise = self.expected if self.container == "MP4" else None
        held: list[tuple[int, NDArray[np.float32]]] = []  # beyond the promise, perhaps padding
        end = 0
        for place, block in self._decoded(start):
            end = place + len(block)
            if promise is None or end <= promise:
                yield place, block
                continue
            inside = max(promise - place, 0)
            if inside:
                yield place, block[:inside]
            held.append((place + inside, block[inside:]))
            if end - promise > PADDING:  # no padding: the promise is wrong
                promise = None
                yield from held
                held.clear()
        self._check_end(end)

    def _check_end(self, end: int) -> None:
        if self._promised is None or not end:
            return
        delay = max(float((self._stream.start_time or 0) * self._stream.time_base), 0.0)
        if self._promised - delay - end / self.sample_rate > MISSING:
            promised = round(self._promised * self.sample_rate)
            raise cut_short(end, promised, self.sample_rate, "samples")

    def _decoded(self, start: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Each packet's samples ``(N, C)`` with the frames before it, from ``start`` or before."""
        with _errors(self._av):
            frames = self._file.decode(self._stream)
            place = 0
            if start > PREROLL * self.sample_rate:
                seconds = start / self.sample_rate - PREROLL
                self._file.seek(int(seconds / self._stream.time_base), stream=self._stream)
                next(frames, None)  # of which FFmpeg drops as much as of the file's first
                for frame in frames:
                    # Then counted: Matroska and WebM round times to milliseconds.
                    place = round(float(frame.time or 0.0) * self.sample_rate)
                    frames = chain([frame], frames)
                    break
        while (frame := self._next(frames)) is not None:
            block = _samples(frame)  # (N, C)
            if frame.sample_rate != self.sample_rate or block.shape[1] != self.channels:
                raise AudioError(
                    f"the audio changes after {place / self.sample_rate:.2f} s from "
                    f"{self.channels} x {self.sample_rate} Hz to "
                    f"{block.shape[1]} x {frame.sample_rate} Hz",
                    remedy="convert it to WAV or FLAC: ffmpeg -i IN OUT",
                )
            if len(block):
                yield place, block
            place += len(block)

    def _next(self, frames: Iterator[Any]) -> Any:
        with _errors(self._av):
            return next(frames, None)


@contextmanager
def open_ffmpeg(link: Link) -> Iterator[FFmpegFile]:
    """The first audio of a recording.

    Raises:
        MissingPackageError: PyAV is not installed.
        AudioError: there is none, or it is of a codec that is not read.
        UnreadableError: the file is damaged.
    """
    format = FORMATS.get(link.container)
    with _open(Parts(link.parts), format, link) as file:
        yield file


@contextmanager
def open_arriving(file: Any, container: str) -> Iterator[FFmpegFile]:
    """The first audio of a recording that ``file`` has not got whole: it has ``read`` alone.

    Args:
        container: one of :data:`ARRIVING`.

    Raises:
        AudioError, MissingPackageError, UnreadableError: see :func:`open_ffmpeg`.
    """
    with _open(file, ARRIVING[container], Link(container, ())) as arriving:
        yield arriving


@contextmanager
def _open(source: Any, format: str | None, link: Link) -> Iterator[FFmpegFile]:
    av = import_extra("av", "formats", f"files of the kind {link.container}")
    options = {} if link.is_own else {"codec_whitelist": ",".join(CODECS)}
    with _errors(av):
        container = av.open(
            source,
            format=format,
            metadata_errors="replace",
            options={**options, "max_streams": str(MOST_STREAMS)},
        )
    with container:
        if not container.streams.audio:
            raise AudioError("there is no sound in this file", remedy="use a recording")
        stream = container.streams.audio[0]
        _check_codec(stream, link)
        stream.codec_context.thread_count = 1
        yield FFmpegFile(av, container, stream, link.container)


def _check_codec(stream: Any, link: Link) -> None:
    codec = stream.codec_context
    if codec is None or not (link.is_own or codec.name in CODECS):
        name = "an unknown codec" if codec is None else codec.name
        raise AudioError(
            f"the {link.container} file holds {name}, which is not read here",
            remedy="convert it to WAV or FLAC, with ffmpeg for example",
        )
    head = codec.extradata or b""
    if codec.name == "alac" and int.from_bytes(head[12:16], "big") > ALAC_FRAMES:
        raise AudioError(
            "the ALAC audio has packets larger than any encoder's", remedy="encode it anew"
        )


def _stated_rate(codec: Any) -> int:
    """The rate of audio before Opus made 48 kHz of it (RFC 7845, 5.1); 0: none is stated."""
    head = codec.extradata or b""
    return int.from_bytes(head[12:16], "little") if head.startswith(b"OpusHead") else 0


def _promised(container: Any, stream: Any) -> float | None:
    """Seconds, as the header says; a file's are its audio's where nothing else is in it."""
    if stream.duration is not None and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    if container.duration is None or len(container.streams) > 1:
        return None
    return float(container.duration) / 1_000_000


def _samples(frame: Any) -> NDArray[np.float32]:
    """``(N, C)`` in [-1, 1], but for floats that exceed it."""
    values = frame.to_ndarray()  # planes (C, N), or (1, N * C)
    if frame.format.is_planar:
        values = values.T
    values = values.reshape(frame.samples, -1)
    kind = values.dtype.str[1:]
    samples: NDArray[np.float32] = values.astype(np.float32)
    if kind in FULL_SCALE:
        samples /= np.float32(FULL_SCALE[kind])
        samples -= np.float32(kind == "u1")
    return samples


def _gathered(
    blocks: Iterator[tuple[int, NDArray[np.float32]]],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Packets joined to blocks, which cost less to count and to check."""
    held: list[NDArray[np.float32]] = []
    place, size = 0, 0
    for start, block in blocks:
        place = place if held else start
        held.append(block)
        size += len(block)
        if size >= BLOCK_FRAMES:
            yield place, np.concatenate(held)
            held, size = [], 0
    if held:
        yield place, np.concatenate(held)


@contextmanager
def _errors(av: Any) -> Iterator[None]:
    """FFmpeg's errors; none says more to a user than that the file is damaged."""
    try:
        yield
    except MemoryError:
        raise MemoryError from None
    except (av.FFmpegError, ValueError) as error:
        raise UnreadableError(str(error)) from None
