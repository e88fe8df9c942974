"""Means and deviations of frames: of a set, and of each stream so far. Silence may be left out."""

from __future__ import annotations

import math
from copy import copy

import torch
from torch import Tensor

__all__ = ["MIN_STD", "Moments", "RunningStatistics", "speech_weights", "with_noise"]

MIN_STD = 1e-3  # of log energies; digital silence has none at all
FADE_DB = 10.0  # by which the loudest frame fades where the past is forgotten
LOUD = 2.0  # deviations above the mean that loud frames are in each filter
ROUNDING = 1e-3  # of the logarithm of a sum
EDGE_DB = 6.0  # over which a frame's weight falls: a step would let rounding errors decide
DECIBELS = 10 / math.log(10)  # of a natural logarithm of power


def speech_weights(loudness: Tensor, loudest: Tensor, silence_db: float | None) -> Tensor:
    """How much each frame counts in statistics, from 0 to 1.

    Frames down to ``silence_db`` below the loudest one count in full, those 6 dB fainter not at
    all. ``loudness`` and ``loudest``, which broadcast, are natural logarithms of powers. With None
    every frame counts.
    """
    if silence_db is None:
        return torch.ones_like(loudness)
    below = (loudest - loudness) * DECIBELS
    return (1 - (below - silence_db) / EDGE_DB).clamp(0.0, 1.0)


def with_noise(frames: Tensor, loudest: Tensor, range_db: float | None) -> Tensor:
    """Log energies ``(..., T, F0)`` of mel filters with noise added to each.

    It is ``range_db`` decibels below ``loudest``, the loudest frame, which broadcasts: a natural
    logarithm of power. With None there is none.
    """
    if range_db is None:
        return frames
    return torch.logaddexp(frames, loudest - range_db / DECIBELS)


class RunningStatistics:
    """Mean and deviation of each of several streams up to each of its frames.

    At the beginning they are the corpus', which then weigh as much as ``weight`` frames of the
    stream. Frames may come in any pieces: the result is the same to the bit.

    Args:
        mean: of the corpus ``(F0,)``.
        inv_std: one over the corpus' deviation ``(F0,)``.
        weight: of both, in frames.
        sequences: how many streams, B.
        silence_db: see :func:`speech_weights`; the loudest frame is that of the frames so far.
        range_db: see :func:`with_noise`; the loudest frame is that of all frames taken in, so that
            frames taken in together have the same noise.
        nothing: how loud digital silence is. As long as there was nothing else, the loudest frame
            is one as in the corpus.
    """

    def __init__(
        self,
        mean: Tensor,
        inv_std: Tensor,
        weight: float,
        sequences: int,
        silence_db: float | None = None,
        range_db: float | None = None,
        nothing: float = -math.inf,
    ) -> None:
        mean, variance = mean.double(), inv_std.double().reciprocal().square()
        prior = torch.stack([mean, variance + mean.square()]) * weight  # (2, F0)
        self.sums = prior.repeat(sequences, 1, 1, 1)  # (B, 1, 2, F0), of values and squares
        self.count = mean.new_full((sequences, 1, 1), weight)  # (B, 1, 1)
        self.loudest = mean.new_full((sequences, 1, 1), -torch.inf, dtype=torch.float32)
        self.silence_db, self.range_db = silence_db, range_db
        self.nothing = nothing if weight else -math.inf
        self.usual = (mean + LOUD / inv_std.double()).logsumexp(0).float()  # loudest frame

    @property
    def current(self) -> tuple[Tensor, Tensor]:
        """Mean and inverse deviation ``(B, 1, F0)`` of all that was taken in."""
        return _mean_and_inv_std(self.sums, self.count)

    def copy(self) -> RunningStatistics:
        """The same, to go on from here apart."""
        return copy(self)  # tensors are replaced, never changed

    def forget(self, frames: float) -> None:
        """Let all that was heard so far weigh no more than so many frames.

        The loudest frame fades by 10 dB each time: after a bang, speech does not remain silence.
        """
        factor = (frames / self.count).clamp(max=1.0)  # (B, 1, 1)
        self.sums, self.count = self.sums * factor.unsqueeze(2), self.count.clamp(max=frames)
        self.loudest = self.loudest - FADE_DB / DECIBELS

    def add(self, frames: Tensor, loudness: Tensor) -> tuple[Tensor, Tensor]:
        """Take in ``frames (B, T, F0)``; return mean and inverse deviation ``(B, T, F0)``.

        ``loudness (B, T, 1)`` is that of the frames.
        """
        weights = self._weights(loudness)  # (B, T, 1)
        frames = self.with_noise(frames)
        values = torch.stack([frames.double(), frames.double().square()], dim=2)  # (B, T, 2, F0)
        values = values * weights.unsqueeze(2)
        sums = torch.cat([self.sums, values], dim=1).cumsum(dim=1)[:, 1:]
        counts = torch.cat([self.count, weights], dim=1).cumsum(dim=1)[:, 1:]
        if frames.shape[1]:
            self.sums, self.count = sums[:, -1:], counts[:, -1:]
        return _mean_and_inv_std(sums, counts)

    def with_noise(self, frames: Tensor) -> Tensor:
        """``frames (B, T, F0)`` with the noise that all frames so far ask for."""
        heard = self.loudest > self.nothing + ROUNDING
        return with_noise(frames, torch.where(heard, self.loudest, self.usual), self.range_db)

    def _weights(self, loudness: Tensor) -> Tensor:
        """How much each of the next frames counts, ``(B, T, 1)``."""
        loudest = torch.cat([self.loudest, loudness.float()], dim=1).cummax(dim=1).values[:, 1:]
        if loudest.shape[1]:
            self.loudest = loudest[:, -1:]
        return speech_weights(loudness, loudest, self.silence_db).double()


def _mean_and_inv_std(sums: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Those of ``sums (B, T, 2, F0)`` of values and squares over ``counts (B, T, 1)`` frames."""
    mean, squares = (sums / counts.unsqueeze(2).clamp(min=1e-9)).unbind(dim=2)
    std = (squares - mean.square()).clamp(min=0).sqrt().clamp(min=MIN_STD)
    return mean.float(), std.reciprocal().float()


class Moments:
    """Running sums for a mean and a deviation, in float64."""

    def __init__(self, size: int) -> None:
        self.count = 0.0
        self.sum = torch.zeros(size, dtype=torch.float64)
        self.squares = torch.zeros(size, dtype=torch.float64)

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in ``values (T, F0)`` that count as much as ``weights (T, 1)`` say."""
        self.count += float(weights.sum())
        self.sum += (values * weights).sum(0)
        self.squares += (values.square() * weights).sum(0)

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and inverse deviation, float32."""
        mean = self.sum / max(1.0, self.count)
        variance = (self.squares / max(1.0, self.count) - mean.square()).clamp(min=0)
        return mean.float(), (1 / variance.sqrt().clamp(min=MIN_STD)).float()
