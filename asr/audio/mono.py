"""Many channels made one, block by block, with every sample checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr.types import AudioError

__all__ = ["Mono", "check_channel", "check_samples", "check_usable", "mix"]

LOUDEST = 1e6  # of full scale 1; floats may exceed 1, but squares must not overflow
GROWTH = 1 << 20  # samples: memory grows by so much where the length is not known


class Mono:
    """Takes blocks of frames and keeps one sample of each frame.

    It is the sample of ``channel`` (from 0) or the mean of all, so that eight channels never lie in
    memory as a whole. ``frames``, if known, must have been checked: that much memory is reserved,
    though the system gives it only as samples arrive. None: it grows with them.
    """

    def __init__(self, frames: int | None, channels: int, channel: int | None) -> None:
        check_channel(channel, channels)
        self.count = 0
        self._samples = np.empty(frames or 0, np.float32)
        self._channel = 0 if channels == 1 else channel

    def add(self, block: NDArray[np.float32]) -> None:
        """Keep what is wanted of ``block``, ``(N, C)``.

        Raises:
            AudioError: a sample of any channel is not a number, or absurdly loud.
        """
        end = self.count + len(block)
        if end > len(self._samples):
            # In place, without a second copy: nothing else refers to it.
            self._samples.resize(max(end, len(self._samples) + GROWTH), refcheck=False)
        mix(block, self.count, self._channel, self._samples[self.count : end])
        self.count = end

    def samples(self) -> NDArray[np.float32]:
        """What was kept, ``(N,)``; to be asked for last.

        Raises:
            AudioError: nothing was.
        """
        if not self.count:
            raise AudioError("the audio has no samples", remedy="send a recording of some length")
        self._samples.resize(self.count, refcheck=False)
        return self._samples


def mix(
    block: NDArray[np.float32],
    frames_before: int,
    channel: int | None = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """One sample ``(N,)`` of each frame of ``block (N, C)``: of ``channel``, or the mean of all.

    Raises:
        AudioError: see :func:`check_usable`.
    """
    check_usable(block, frames_before)
    kept = np.empty(len(block), np.float32) if out is None else out
    if channel is None and block.shape[1] > 1:
        block.mean(axis=1, out=kept)
    else:
        kept[:] = block[:, channel or 0]
    return kept


def check_channel(channel: int | None, channels: int) -> None:
    """Raise AudioError unless there is such a channel, from 0; None is the mean of all."""
    if channel is not None and not 0 <= channel < channels:
        raise AudioError(
            f"there is no channel {channel} counted from 0, {channel + 1} from 1: the audio has "
            f"{channels}",
            remedy="choose another, or none for the mean of all",
        )


def check_samples(samples: NDArray[np.floating], samples_before: int = 0) -> None:
    """Check what is given as the samples of one channel, ``(N,)``.

    Raises:
        AudioError: they are not one row of floats, or see :func:`check_usable`.
    """
    if not isinstance(samples, np.ndarray) or samples.dtype.kind != "f":
        kind = samples.dtype if isinstance(samples, np.ndarray) else type(samples).__name__
        raise AudioError(
            f"samples are of type {kind}",
            remedy="give an array of floats in [-1, 1]; 16-bit integers are divided by 32768",
        )
    if samples.ndim != 1:
        raise AudioError(f"samples have shape {samples.shape}", remedy="give one channel, (N,)")
    if len(samples):
        wide = samples.astype(np.float32) if samples.dtype.itemsize < 4 else samples
        check_usable(wide[:, None], samples_before)


def check_usable(block: NDArray[np.floating], frames_before: int) -> None:
    """Check every sample of ``block``, ``(N, C)``.

    Raises:
        AudioError: one is not a number, or absurdly loud; the message says which.
    """
    if block.max() <= LOUDEST and block.min() >= -LOUDEST:  # NaN is not
        return
    usable = (np.abs(block) <= LOUDEST).all(axis=1)
    first = int(np.argmin(usable))
    finite = np.isfinite(block[first]).all()
    raise AudioError(
        f"sample {frames_before + first} is "
        + ("far outside [-1, 1]" if finite else "not a finite number"),
        remedy="repair the recording or its float encoding",
    )
