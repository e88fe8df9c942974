"""Files on one's own machine: parts of long ones, and more codings than a server reads.

AMR, WMA and others, which no server takes, are FFmpeg's as MP4 and WebM are, by the extra
``formats``.
"""

from __future__ import annotations

import os

import numpy as np

from asr.audio.checked import checked_blocks, open_link
from asr.audio.decode import AudioInfo, decode_links, measure
from asr.audio.limits import AudioLimits, Meter, check_bytes
from asr.audio.link import Link
from asr.audio.links import own_links
from asr.audio.mapped import mapped
from asr.audio.mono import Mono, check_usable
from asr.types import AudioError, Waveform

__all__ = ["check_file", "probe_file", "read_file"]

StrPath = str | os.PathLike[str]


def read_file(
    path: StrPath,
    start: float = 0.0,
    duration: float | None = None,
    *,
    limits: AudioLimits,
    channel: int | None = None,
) -> Waveform:
    """Read ``duration`` seconds of a file from ``start`` on, or what there is of them, at its rate.

    What comes before is passed over, not decoded, where the coding can be entered anywhere. Several
    channels are averaged, or ``channel`` (from 0) is taken alone.

    Raises:
        AudioError: the file is missing, damaged, of no known kind, or beyond ``limits``.
        MissingPackageError: the file is FFmpeg's, and PyAV is not installed.
    """
    with mapped(path) as data:
        check_bytes(len(data), limits)
        links = own_links(data)
        if len(links) == 1:
            return _read_span(links[0], Meter(len(data), limits), limits, start, duration, channel)
        whole = decode_links(links, len(data), limits, channel)  # recordings joined in a file
    first = round(start * whole.sample_rate)
    last = None if duration is None else first + round(duration * whole.sample_rate)
    return Waveform(whole.samples[first:last], whole.sample_rate)


def check_file(path: StrPath, *, limits: AudioLimits) -> AudioInfo:
    """Read a file from its beginning to its end, and keep nothing of it.

    Raises:
        AudioError: see :func:`read_file`.
    """
    total, rate, channels = 0, 0, 0
    with mapped(path) as data:
        check_bytes(len(data), limits)
        links = own_links(data)
        meter = Meter(len(data), limits)
        for link in links:
            with open_link(link, limits) as file:
                frames = 0
                for block in checked_blocks(file, meter):
                    check_usable(block, frames)
                    frames += len(block)
            if not frames:
                raise AudioError("the audio has no samples", remedy="restore the recording")
            rate, channels = rate or file.sample_rate, channels or file.channels
            total += round(frames * rate / file.sample_rate)
    return AudioInfo(total, rate, channels)


def probe_file(path: StrPath) -> AudioInfo:
    """How long a file is, as its header says.

    Raises:
        AudioError: see :func:`read_file`.
    """
    with mapped(path) as data:
        return measure(own_links(data))


def _read_span(
    link: Link,
    meter: Meter,
    limits: AudioLimits,
    start: float,
    duration: float | None,
    channel: int | None,
) -> Waveform:
    with open_link(link, limits) as file:
        first = round(start * file.sample_rate)
        count = None if duration is None else round(duration * file.sample_rate)
        known = file.frames
        if known is not None:
            if first >= known > 0:
                return Waveform(np.empty(0, np.float32), file.sample_rate)
            known = known - first if count is None else min(known - first, count)
            meter.check(known, file.sample_rate, file.channels)
        mono = Mono(known, file.channels, channel)
        for block in checked_blocks(file, meter, first, count):
            mono.add(block)
        return Waveform(mono.samples(), file.sample_rate)
