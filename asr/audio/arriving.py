"""Recordings that are decoded while they come: OGG and WebM, as browsers record them.

FFmpeg reads them without waiting for more than the next packet, and passes over what it does not
understand. So their pages and elements are looked at before it sees them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from asr.audio.boxes import WebmElements
from asr.audio.containers import container_to_read
from asr.audio.ffmpeg import ARRIVING, FFmpegFile, open_arriving
from asr.audio.limits import DEFAULT_LIMITS, AudioLimits, Meter, check_bytes, check_format
from asr.audio.link import RESTORE
from asr.audio.mono import check_channel, mix
from asr.audio.ogg import OggPages
from asr.audio.parts import UnreadableError
from asr.types import AudioError

__all__ = ["Arriving", "can_arrive"]

Samples = NDArray[np.float32]

CHECKS: dict[str, Callable[[], Check]] = {"OGG": OggPages, "WebM": WebmElements}
HEAD_BYTES = 12  # that tell a container


class Check(Protocol):
    """Looks at the bytes of a container, in pieces."""

    def push(self, data: bytes) -> bytes:
        """What of them can be handed on now."""
        ...


def can_arrive(container: str) -> bool:
    """Whether a file of this kind can be decoded while it comes, by what is installed here."""
    return container in ARRIVING and importlib.util.find_spec("av") is not None


class Arriving:
    """The samples of one recording at one rate, in blocks ``(N,)``, as soon as its bytes tell them.

    Args:
        more: waits for the next bytes, in pieces of any size; none: the recording is over.
        container: what it has to be, one for which :func:`can_arrive`.
        sample_rate: of what is given, in hertz.
        limits: of rate, channels and seconds; and of expansion, counted in what is given.
        channel: the one to hear, from 0; None is the mean of all.

    Attributes:
        source_rates: the recording's own, as its header states it and as it is decoded; there with
            the first block.

    Blocks depend on the bytes and not on their pieces, to the bit. Who records may stop anywhere:
    only where a header promises more is a recording cut short.
    """

    def __init__(
        self,
        more: Callable[[], bytes],
        container: str,
        sample_rate: int,
        *,
        limits: AudioLimits,
        channel: int | None = None,
    ) -> None:
        self.source_rates = (0, 0)
        self._meter = Meter(0, limits)
        self._source = _Source(more, container, self._meter)
        self._container = container
        self._rate = sample_rate
        self._limits = limits
        self._channel = channel

    def __iter__(self) -> Iterator[Samples]:
        """The blocks, once.

        Raises:
            AudioError: the bytes are another container or damaged; or the samples are not usable,
                beyond the limits, or none; or there is no such channel.
            MissingPackageError: PyAV is not installed.
        """
        try:
            with open_arriving(self._source, self._container) as file:
                yield from self._resampled(file)
        except UnreadableError:
            self._source.raise_error()
            raise self._damage() from None
        self._source.raise_error()
        if not self._source.is_over:  # FFmpeg has given up
            raise self._damage()

    def _resampled(self, file: FFmpegFile) -> Iterator[Samples]:
        check_format(file.sample_rate, file.channels, self._limits)
        check_channel(self._channel, file.channels)
        self.source_rates = (file.stated_rate, file.sample_rate)
        resampler = soxr.ResampleStream(file.sample_rate, self._rate, 1, "float32", "HQ")
        channel = 0 if file.channels == 1 else self._channel
        place = 0
        for block in file.packets():
            yield self._counted(resampler.resample_chunk(mix(block, place, channel)))
            place += len(block)
        if not place:
            raise AudioError("the audio has no samples", remedy="send a recording of some length")
        yield self._counted(resampler.resample_chunk(np.empty(0, np.float32), last=True))

    def _counted(self, samples: Samples) -> Samples:
        self._meter.check(len(samples), self._rate, 1)
        self._meter.add(len(samples), self._rate, 1)
        return samples

    def _damage(self) -> AudioError:
        return AudioError(f"the {self._container} audio is damaged", remedy=RESTORE)


class _Source:
    """What FFmpeg reads from. An error ends the file for it, and is kept to be raised instead of
    what FFmpeg makes of that.
    """

    def __init__(self, more: Callable[[], bytes], container: str, meter: Meter) -> None:
        self.is_over = False
        self._more = more
        self._container = container
        self._meter = meter
        self._check = CHECKS[container]()
        self._head: bytearray | None = bytearray()  # until it tells the container
        self._bytes = b""
        self._error: BaseException | None = None

    def read(self, count: int) -> bytes:
        """Between 1 and ``count`` bytes; none at the end."""
        try:
            while not self._bytes and not self.is_over:
                self._bytes = self._next()
        except BaseException as error:
            self._error = self._error or error
            self.is_over = True
        given, self._bytes = self._bytes[:count], self._bytes[count:]
        return given

    def raise_error(self) -> None:
        """Raise what has ended the file, if it was not its end."""
        if self._error is not None:
            raise self._error

    def _next(self) -> bytes:
        data = self._more()
        self._meter.receive(len(data))
        self.is_over = not data
        if self._head is not None:
            self._head += data
            if len(self._head) < HEAD_BYTES and not self.is_over:
                return b""
            check_bytes(len(self._head), DEFAULT_LIMITS)
            container_to_read(self._head, self._container)
            data, self._head = bytes(self._head), None
        return self._check.push(data)
