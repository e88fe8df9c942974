"""Recordings of any length at one rate, block by block: never more than a block is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial

import numpy as np
import soxr
from numpy.typing import NDArray

from asr.audio.checked import AudioFile, checked_blocks, open_link
from asr.audio.containers import Data
from asr.audio.limits import AudioLimits, Meter
from asr.audio.link import Link
from asr.audio.mono import check_channel, mix
from asr.audio.pcm import check_pcm
from asr.audio.sndfile import open_raw
from asr.types import AudioError

__all__ = ["AudioBlocks", "link_blocks", "pcm_blocks"]

Samples = NDArray[np.float32]
Opener = Callable[[], AbstractContextManager[AudioFile]]


class AudioBlocks:
    """The samples of recordings that follow each other, at one rate, in blocks ``(N,)``.

    Args:
        openers: each opens one recording.
        meter: what they are counted against.
        sample_rate: of what is given, in hertz.
        channel: the one to hear, from 0; None is the mean of all.

    Attributes:
        source_rate, channels: of the first recording; 0 before the first block.
        num_samples: of the recordings that have been given whole, at that rate.
    """

    def __init__(
        self,
        openers: Sequence[Opener],
        meter: Meter,
        sample_rate: int,
        channel: int | None = None,
    ) -> None:
        self.source_rate = self.channels = 0
        self.num_samples = 0
        self._openers = openers
        self._meter = meter
        self._sample_rate = sample_rate
        self._channel = channel

    def __iter__(self) -> Iterator[Samples]:
        """The blocks, once.

        Raises:
            AudioError: samples are missing, damaged, not usable, or beyond the limits; or there is
                no such channel.
        """
        for opened in self._openers:
            with opened() as file:
                self.source_rate = self.source_rate or file.sample_rate
                self.channels = self.channels or file.channels
                self._meter.check(file.frames or 0, file.sample_rate, file.channels)
                yield from _resampled(self._mono(file), file.sample_rate, self._sample_rate)

    def _mono(self, file: AudioFile) -> Iterator[Samples]:
        check_channel(self._channel, file.channels)
        channel = 0 if file.channels == 1 else self._channel
        place = 0
        for block in checked_blocks(file, self._meter):
            yield mix(block, place, channel)
            place += len(block)
        if not place:
            raise AudioError("the audio has no samples", remedy="send a recording of some length")
        self.num_samples += round(place * self.source_rate / file.sample_rate)

    @property
    def seconds(self) -> float:
        """Of the recordings that have been given whole."""
        return self.num_samples / max(1, self.source_rate)


def link_blocks(
    links: Sequence[Link],
    encoded_bytes: int,
    sample_rate: int,
    *,
    limits: AudioLimits,
    channel: int | None = None,
) -> AudioBlocks:
    """The blocks of the recordings ``links``, which are of ``encoded_bytes`` together."""
    openers = [partial(open_link, link, limits) for link in links]
    return AudioBlocks(openers, Meter(encoded_bytes, limits), sample_rate, channel)


def pcm_blocks(
    data: Data,
    sample_rate: int,
    *,
    encoding: str,
    source_rate: int,
    channels: int,
    limits: AudioLimits,
    channel: int | None = None,
) -> AudioBlocks:
    """The blocks of samples without a header, as :func:`asr.audio.decode_pcm` has them.

    Raises:
        AudioError: see there.
    """
    check_pcm(data, encoding, source_rate, channels, limits)
    opener = partial(open_raw, memoryview(data), encoding, source_rate, channels, "little")
    return AudioBlocks([opener], Meter(len(data), limits), sample_rate, channel)


def _resampled(blocks: Iterable[Samples], source: int, target: int) -> Iterator[Samples]:
    if source == target:
        yield from blocks
        return
    resampler = soxr.ResampleStream(source, target, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.empty(0, np.float32), last=True)
