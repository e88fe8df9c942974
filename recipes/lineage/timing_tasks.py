"""Tasks of time: measure the delay between spikes, spike at intervals, draw a periodic curve.

After Gers, Schraudolph & Schmidhuber 2002, section 4: MSD, GTS and PFG. The last two have no input
at all: the network has to run as a clock of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["TASKS", "Batch", "Task", "curve", "measured_delays", "timed_spikes"]


@dataclass(frozen=True)
class Batch:
    """Streams that begin at rest.

    Attributes:
        inputs: ``(T, B, 1)``.
        targets: ``(T, B)``, in 0 to 1.
        counts: ``(T, B)``, whether the output matters at this step.
    """

    inputs: Tensor
    targets: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Task:
    """One task at one period.

    Attributes:
        name: as the figure has it.
        binary: targets are classes and the output logistic, else linear.
        ends_at_error: in training a stream ends with its first error.
        train: draws a batch to learn from.
        test: draws the batch that decides.
    """

    name: str
    binary: bool
    ends_at_error: bool
    train: Callable[[np.random.Generator], Batch]
    test: Callable[[np.random.Generator], Batch]


def measured_delays(rng: np.random.Generator, delay: int, intervals: int, streams: int) -> Batch:
    """MSD: spikes ``delay`` or ``delay + 1`` steps apart; tell at each which it was.

    The first spike of each stream is at step 0, where nothing is asked yet.
    """
    longer = rng.integers(0, 2, (intervals, streams))
    times = np.cumsum(delay + longer, 0)
    inputs = np.zeros((intervals * (delay + 1) + 1, streams), np.float32)
    targets, counts = np.zeros_like(inputs), np.zeros(inputs.shape, bool)
    column = np.arange(streams)
    inputs[0] = inputs[times, column] = 1.0
    targets[times, column] = longer
    counts[times, column] = True
    spikes, classes, asked = (torch.from_numpy(part) for part in (inputs, targets, counts))
    return Batch(spikes.unsqueeze(2), classes, asked)


def timed_spikes(period: int, periods: int) -> Batch:
    """GTS: 1 at the last step of every period, else 0."""
    targets = torch.zeros(period * periods)
    targets[period - 1 :: period] = 1.0
    return _without_input(targets)


def curve(shape: str, period: int, periods: int) -> Batch:
    """PFG: ``shape`` is ``"cosine"``, ``"triangle"`` or ``"rectangle"``; from 0 to 1 and back."""
    phase = torch.arange(period * periods) % period / period
    if shape == "cosine":
        return _without_input((1 - torch.cos(2 * math.pi * phase)) / 2)
    if shape == "triangle":
        return _without_input(1 - (1 - 2 * phase).abs())
    return _without_input((phase >= 0.5).float())


def _without_input(targets: Tensor) -> Batch:
    targets = targets.unsqueeze(1)
    return Batch(
        torch.zeros(len(targets), 1, 1), targets, torch.ones(len(targets), 1, dtype=torch.bool)
    )


LEARNT_INTERVALS, LEARNT_STREAMS = 5, 8  # of a batch
LEARNT_PERIODS = 5
TESTED_INTERVALS, TESTED_STREAMS = 100, 10
TESTED_PERIODS = 100


def _msd(delay: int) -> Task:
    return Task(
        f"MSD {delay}/{delay + 1}",
        True,
        False,
        lambda rng: measured_delays(rng, delay, LEARNT_INTERVALS, LEARNT_STREAMS),
        lambda rng: measured_delays(rng, delay, TESTED_INTERVALS, TESTED_STREAMS),
    )


def _gts(period: int) -> Task:
    return Task(
        f"GTS {period}",
        True,
        True,
        lambda rng: timed_spikes(period, LEARNT_PERIODS),
        lambda rng: timed_spikes(period, TESTED_PERIODS),
    )


def _pfg(shape: str, period: int) -> Task:
    return Task(
        f"PFG {shape} {period}",
        False,
        False,
        lambda rng: curve(shape, period, LEARNT_PERIODS),
        lambda rng: curve(shape, period, TESTED_PERIODS),
    )


TASKS = (
    _msd(10),
    _msd(30),
    _gts(10),
    *(_pfg(shape, 25) for shape in ("cosine", "triangle", "rectangle")),
)
