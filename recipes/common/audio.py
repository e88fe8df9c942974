"""The samples of a cut: of its span, of its channels, at the file's own rate.

Audio is read by :mod:`asr.audio` alone.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from lhotse.audio import AudioSource
from lhotse.cut import Cut, MonoCut, MultiCut

from asr.audio import AudioLimits, decode_audio, decode_pcm, read_file
from asr.types import AsrError, AudioError, CorpusError, Waveform
from recipes.common.parts import Part
from recipes.common.rows import wrong_type

__all__ = ["LIMITS", "RAW", "SHARD", "load_samples", "read_raw", "unreadable"]

RAW = ".raw"
SHARD = "shard"  # the type of a source that is a part of a file
LIMITS = AudioLimits(  # one's own files, on one's own machine
    max_bytes=2**30, max_seconds=36_000.0, max_decoded_bytes=2**33, max_expansion=math.inf
)
SLACK = 0.01  # seconds by which a span may pass the end: manifests of other rates are rounded


def load_samples(cut: Cut) -> Waveform:
    """Read the audio from a cut's start on, as long as the cut lasts, at the file's own rate.

    The channel of a MonoCut is read; those of a MultiCut are averaged. A recording of one channel
    is its file as it stands: if that has several, they are averaged.

    Raises:
        AudioError: the file is missing or damaged, or ends before the cut does.
        CorpusError: raw audio that cannot be read.
    """
    parts = [_read(cut, source, channel) for source, channel in _channels(cut)]
    if len(parts) == 1:
        return parts[0]
    shortest = min(len(part.samples) for part in parts)
    mean = np.mean([part.samples[:shortest] for part in parts], axis=0, dtype=np.float32)
    return Waveform(mean, parts[0].sample_rate)


def unreadable(cut: Cut) -> str | None:
    """Why :func:`load_samples` cannot serve ``cut``, or None."""
    if not isinstance(cut, MonoCut | MultiCut):
        return f"a {type(cut).__name__} is no span of one recording"
    if why := wrong_type(cut):
        return why
    if not cut.has_recording or not cut.recording.sources:
        return "the row has no audio"
    if cut.recording.transforms:
        return "the recording is to be changed by lhotse while it is read"
    if not (cut.start >= 0 and 0 < cut.duration < math.inf):
        return f"a span of {cut.duration} s from {cut.start} s"
    known = {channel for source in cut.recording.sources for channel in source.channels}
    if missing := sorted(set(_wanted(cut)) - known):
        return f"the recording has no channel {missing[0]}"
    for source in cut.recording.sources:
        if not _is_there(source):
            return f"the row's audio {source.source or '(none)'} is not there"
    return None


def _is_there(source: AudioSource) -> bool:
    if source.type == SHARD:
        return Part.of(source.source).is_there()
    return source.type == "file" and Path(source.source).is_file()


def _wanted(cut: MonoCut | MultiCut) -> list[int]:
    return [cut.channel] if isinstance(cut.channel, int) else list(cut.channel)


def _channels(cut: Cut) -> list[tuple[AudioSource, int | None]]:
    """The files to read, each with the channel in it, or None for the mean of all."""
    sources, wanted = cut.recording.sources, _wanted(cut)
    if len(sources) == 1 and sorted(wanted) == sorted(sources[0].channels):
        return [(sources[0], None)]
    return [
        (source, None if len(source.channels) == 1 else source.channels.index(channel))
        for channel in wanted
        for source in sources
        if channel in source.channels
    ]


def _read(cut: Cut, source: AudioSource, channel: int | None) -> Waveform:
    path = Path(source.source)
    if source.type == SHARD:
        part = Part.of(source.source)
        path = Path(part.place)
        span = _span(_decoded(part), cut)
    elif path.suffix == RAW:
        order = (cut.supervisions[0].custom or {}).get("byte_order", "little")
        span = _span(read_raw(path, cut.recording.sampling_rate, order), cut)
    else:
        span = read_file(path, cut.start, cut.duration, limits=LIMITS, channel=channel)
    if cut.duration - span.duration > SLACK:
        raise AudioError(
            f"the audio ends at {cut.start + span.duration:.2f} s, {cut.id} at {cut.end:.2f} s",
            where=str(path),
            remedy="restore the file, or run `prepare` again",
        )
    return span


def _span(whole: Waveform, cut: Cut) -> Waveform:
    """What the cut has of the whole recording."""
    first = round(cut.start * whole.sample_rate)
    last = first + round(cut.duration * whole.sample_rate)
    return Waveform(whole.samples[first:last], whole.sample_rate)


def _decoded(part: Part) -> Waveform:
    data = part.read()
    try:
        return decode_audio(data, limits=LIMITS)
    except AsrError as error:
        raise error.at(str(part)) from None


def read_raw(path: Path, rate: int, byte_order: str) -> Waveform:
    """Read a headerless file of 16-bit audio.

    Raises:
        AudioError: no samples, half of one, or more than :data:`LIMITS`.
        CorpusError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LIMITS.max_bytes + 1)
    except OSError as error:
        raise CorpusError(f"cannot read audio: {error.strerror}", where=str(path)) from None
    try:
        return decode_pcm(
            data, encoding="LINEAR16", sample_rate=rate, byte_order=byte_order, limits=LIMITS
        )
    except AsrError as error:
        raise error.at(str(path)) from None
