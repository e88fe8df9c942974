"""Samples that come in pieces, as somebody speaks, at the rate that a model wants."""

from __future__ import annotations

from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray

from asr.audio.containers import container_to_read, refuse_container
from asr.audio.headers import PcmFormat, layout_of, pcm_format
from asr.audio.limits import DEFAULT_LIMITS, AudioLimits, check_format
from asr.audio.mono import check_channel, check_usable
from asr.audio.pcm import SAMPLE_BYTES
from asr.audio.sndfile import open_raw
from asr.types import AudioError

__all__ = ["PcmStream", "WavStream"]

BLOCKS_A_SECOND = 100  # audio goes through in these steps, whatever its pieces
HEAD_BYTES = 2_048  # looked at before samples are believed to be such: three frames of MP3
HEADER_BYTES = 65_536  # of a WAV file, before its samples
NOTHING = np.zeros(0, np.float32)


class PcmStream:
    """Interleaved samples without a header, cut anywhere.

    Args:
        encoding: ``LINEAR16``, ``FLOAT``, ``MULAW`` or ``ALAW``, as for ``decode_pcm``.
        sample_rate, channels: of the samples.
        channel: the one to hear, from 0; None is the mean of all.
        target_rate: hertz of what is given.
        limits: of rate and channels.

    What is given depends on the bytes and not on their pieces, to the bit.

    Raises:
        AudioError: rate or channels are beyond the limits, or there is no such channel.
    """

    def __init__(
        self,
        encoding: str,
        sample_rate: int,
        channels: int,
        channel: int | None,
        target_rate: int,
        limits: AudioLimits = DEFAULT_LIMITS,
    ) -> None:
        check_format(sample_rate, channels, limits)
        check_channel(channel, channels)
        self._encoding = encoding
        self._channels = channels
        self._channel = 0 if channels == 1 else channel
        self._frame_bytes = SAMPLE_BYTES[encoding] * channels
        self._block_bytes = -(-sample_rate // BLOCKS_A_SECOND) * self._frame_bytes
        self._rates = (sample_rate, target_rate)
        self._resampler = self._new_resampler()
        self._bytes = bytearray()
        self._is_checked = False
        self._frames = 0  # given so far, before resampling

    def push(self, data: bytes | memoryview) -> NDArray[np.float32]:
        """The samples ``(N,)``, perhaps none, that the next bytes complete.

        Raises:
            AudioError: they are a file with a header; or a sample is not a number, or absurdly
                loud, and the message says which.
        """
        self._bytes += data
        if not self._is_checked:
            if len(self._bytes) < HEAD_BYTES:
                return NOTHING
            self._check_head()
        return self._take(len(self._bytes) // self._block_bytes * self._block_bytes)

    def flush(self) -> NDArray[np.float32]:
        """The samples ``(N,)`` of all frames that have come: as many as if it ended here.

        What comes after them begins anew, as another stream would.

        Raises:
            AudioError: see :meth:`push`.
        """
        if self._bytes:
            self._check_head()
        whole = len(self._bytes) // self._frame_bytes * self._frame_bytes
        samples = self._take(whole, last=True)
        self._resampler = self._new_resampler()
        return samples

    def end(self) -> NDArray[np.float32]:
        """The last samples ``(N,)``.

        Raises:
            AudioError: see :meth:`push`; or the last frame is cut.
        """
        self._check_head()
        rest = len(self._bytes) % self._frame_bytes
        if rest:
            raise AudioError(
                f"the audio ends within a frame of {self._frame_bytes} bytes",
                remedy="check encoding and channel count",
            )
        return self._take(len(self._bytes), last=True)

    def _check_head(self) -> None:
        if not self._is_checked:
            refuse_container(self._bytes, self._encoding)
        self._is_checked = True

    def _new_resampler(self) -> soxr.ResampleStream | None:
        old, new = self._rates
        return None if old == new else soxr.ResampleStream(old, new, 1, "float32", "HQ")

    def _take(self, count: int, *, last: bool = False) -> NDArray[np.float32]:
        """The samples of the first ``count`` bytes, at the wanted rate."""
        data = bytes(self._bytes[:count])
        del self._bytes[:count]
        mono = self._mono(data) if data else NOTHING
        if self._resampler is None:
            return mono
        size = self._block_bytes // self._frame_bytes
        parts = [
            self._resampler.resample_chunk(mono[start : start + size])
            for start in range(0, len(mono), size)
        ]
        if last:
            parts.append(self._resampler.resample_chunk(NOTHING, last=True))
        return np.concatenate([NOTHING, *parts])

    def _mono(self, data: bytes) -> NDArray[np.float32]:
        block = _samples(data, self._encoding).reshape(-1, self._channels)  # (N, C)
        check_usable(block, self._frames)
        self._frames += len(block)
        if self._channel is None:
            mean: NDArray[np.float32] = block.mean(axis=1)
            return mean
        return np.ascontiguousarray(block[:, self._channel])


class WavStream:
    """A WAV file of 16-bit, float, mu-law or A-law samples, cut anywhere.

    Its samples are those of its ``data`` chunk, or all that come where the header leaves the size
    open. ``sample_rate`` is 0, or what the header has to say; else as :class:`PcmStream`.
    """

    def __init__(
        self,
        sample_rate: int,
        channel: int | None,
        target_rate: int,
        limits: AudioLimits = DEFAULT_LIMITS,
    ) -> None:
        self._wanted = sample_rate
        self._channel = channel
        self._target_rate = target_rate
        self._limits = limits
        self._head = bytearray()
        self._samples: PcmStream | None = None
        self._left: int | None = None  # bytes of samples that are still promised

    def push(self, data: bytes | memoryview) -> NDArray[np.float32]:
        """The samples ``(N,)``, perhaps none, that the next bytes complete.

        Raises:
            AudioError: this is no such file; or see :meth:`PcmStream.push`.
        """
        if self._samples is not None:
            return self._push(self._samples, data)
        self._head += data
        layout = layout_of(memoryview(bytes(self._head)), "WAV") if self._is_wav() else None
        if layout is None:
            self._check_head_ends()
            return NOTHING
        found = pcm_format(memoryview(bytes(self._head)))
        self._samples = self._stream_of(found)
        self._left = layout.size or None  # a size that writers to a pipe leave is no promise
        return self._push(self._samples, self._head[layout.start :])

    def flush(self) -> NDArray[np.float32]:
        """As :meth:`PcmStream.flush`; none before the header has come."""
        return NOTHING if self._samples is None else self._samples.flush()

    def end(self) -> NDArray[np.float32]:
        """The last samples ``(N,)``.

        Raises:
            AudioError: the file is cut short, within its header or its samples.
        """
        if self._samples is None or self._left:
            raise AudioError(
                "the WAV file is cut short", remedy="send all of it, or its samples alone"
            )
        return self._samples.end()

    def _push(
        self, samples: PcmStream, data: bytes | bytearray | memoryview
    ) -> NDArray[np.float32]:
        if self._left is None:
            return samples.push(bytes(data))
        kept = bytes(data[: self._left])
        self._left -= len(kept)
        return samples.push(kept)

    def _is_wav(self) -> bool:
        if len(self._head) < 12:
            return False
        container_to_read(self._head, "WAV")
        return True

    def _check_head_ends(self) -> None:
        if len(self._head) > HEADER_BYTES:
            raise AudioError(
                f"the WAV file has no samples in its first {HEADER_BYTES} bytes",
                remedy="write the recording anew, or send its samples alone",
            )

    def _stream_of(self, found: PcmFormat | None) -> PcmStream:
        if found is None:
            raise AudioError(
                "this coding of WAV cannot be read while it comes",
                remedy="use 16-bit, float, mu-law or A-law samples, or leave the encoding out: "
                "then the file is read when it is complete",
            )
        if self._wanted not in (0, found.sample_rate):
            raise AudioError(
                f"sample_rate_hertz is {self._wanted}, "
                f"but the audio's header says {found.sample_rate}",
                remedy="leave it 0 to trust the header",
            )
        return PcmStream(
            found.encoding,
            found.sample_rate,
            found.channels,
            self._channel,
            self._target_rate,
            self._limits,
        )


def _samples(data: bytes, encoding: str) -> NDArray[np.float32]:
    """All samples of ``data``, of all channels, in [-1, 1] but for floats that exceed it."""
    if encoding == "LINEAR16":
        return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
    if encoding == "FLOAT":
        return np.frombuffer(data, "<f4").astype(np.float32)
    values: NDArray[np.float32] = _table(encoding)[np.frombuffer(data, np.uint8)]
    return values


@cache
def _table(encoding: str) -> NDArray[np.float32]:
    """What each byte of an 8-bit encoding means ``(256,)``; libsndfile is asked once."""
    with open_raw(bytes(range(256)), encoding, 8_000, 1, "little") as file:
        return np.concatenate([block[:, 0].copy() for block in file.blocks()])
