"""Recordings that only FFmpeg reads, through PyAV: the extra ``formats``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio.decode import AudioInfo
from asr.audio.limits import AudioLimits, Meter, check_format
from asr.audio.mono import Mono, check_usable
from asr.extras import import_extra
from asr.types import AudioError, Waveform

__all__ = ["check", "probe", "read"]

StrPath = str | os.PathLike[str]
PREROLL = 0.5  # seconds decoded before a span: lossy frames build on those before them
MISSING = 0.5  # seconds by which samples may fall short of what the header promises


def read(
    path: StrPath,
    start: float,
    duration: float | None,
    limits: AudioLimits,
    channel: int | None,
) -> Waveform:
    """See :func:`asr.audio.local.read_file`."""
    with _open(path) as (container, stream):
        rate, channels = _format(stream, limits)
        first = round(start * rate)
        end = None if duration is None else first + round(duration * rate)
        mono = Mono(None, channels, channel)
        meter = Meter(os.path.getsize(path), limits)
        for place, block in _blocks(container, stream, start):
            wanted = block[max(first - place, 0) : None if end is None else max(end - place, 0)]
            if len(wanted):
                mono.add(wanted)
                meter.check(mono.count, rate, channels)
            if end is not None and place + len(block) >= end:
                break
        return Waveform(mono.samples(), rate)


def check(path: StrPath, limits: AudioLimits) -> AudioInfo:
    """See :func:`asr.audio.local.check_file`."""
    with _open(path) as (container, stream):
        rate, channels = _format(stream, limits)
        meter = Meter(os.path.getsize(path), limits)
        end = 0
        for place, block in _blocks(container, stream, 0.0):
            check_usable(block, place)
            end = place + len(block)
            meter.check(end, rate, channels)
        promised = _promised(container, stream)
        if not end:
            raise AudioError("the audio has no samples", remedy="restore the recording")
        if promised is not None and promised - end / rate > MISSING:
            raise AudioError(
                f"the audio is cut short: it has {end / rate:.2f} of its {promised:.2f} s",
                remedy="restore the recording",
            )
        return AudioInfo(end, rate, channels)


def probe(path: StrPath) -> AudioInfo:
    """See :func:`asr.audio.local.probe_file`; where no header tells, the samples are counted."""
    with _open(path) as (container, stream):
        rate, channels = _format(stream, None)
        promised = _promised(container, stream)
        if promised is None:
            promised = sum(len(block) for _, block in _blocks(container, stream, 0.0)) / rate
        return AudioInfo(round(promised * rate), rate, channels)


@contextmanager
def _open(path: StrPath) -> Iterator[tuple[Any, Any]]:
    """The container and its first audio stream."""
    av = import_extra("av", "formats", "MP4, WebM and the like")
    try:
        with av.open(os.fspath(path), metadata_errors="replace") as container:
            if not container.streams.audio:
                raise AudioError("there is no sound in this file", remedy="use a recording")
            yield container, container.streams.audio[0]
    except (av.FFmpegError, ValueError) as error:
        raise AudioError(
            f"FFmpeg cannot read the audio: {getattr(error, 'strerror', None) or error}",
            remedy="restore the recording, or convert it to WAV or FLAC",
        ) from None


def _format(stream: Any, limits: AudioLimits | None) -> tuple[int, int]:
    rate, channels = int(stream.rate or 0), int(stream.channels or 0)
    if limits is not None:
        check_format(rate, channels, limits)
    return rate, channels


def _promised(container: Any, stream: Any) -> float | None:
    """Seconds, as the header says."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / 1_000_000


def _blocks(container: Any, stream: Any, start: float) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Blocks ``(N, C)``, each with the frames before it, from ``start`` seconds or before it on."""
    av = import_extra("av", "formats", "MP4, WebM and the like")
    frames = container.decode(stream)
    place = 0
    if start > PREROLL:
        container.seek(int((start - PREROLL) / stream.time_base), stream=stream)
        next(frames, None)  # of which FFmpeg drops as much as of the file's first
        for frame in frames:
            # Then counted: Matroska and WebM round times to milliseconds.
            place = round(float(frame.time or 0.0) * stream.rate)
            frames = chain([frame], frames)
            break
    to_float = av.AudioResampler(format="fltp")
    for frame in frames:
        for part in to_float.resample(frame):
            samples = part.to_ndarray()  # (C, N)
            yield place, np.ascontiguousarray(samples.T, dtype=np.float32)
            place += samples.shape[1]
