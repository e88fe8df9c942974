"""Tasks of time: measure the delay between spikes, spike at intervals, draw a periodic curve.

After Gers, Schraudolph & Schmidhuber 2002, section 4: MSD, GTS and PFG. The last two have no input
at all: the network has to run as a clock of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from recipes.lineage.online import Lesson

__all__ = ["TASKS", "Task", "curve", "timed_spike"]

# The paper's is 1e-5 for all. Without spikes the momentum is smaller and so is each step.
SPIKE_RATES = (1e-5, 1e-4, 1e-3)
CURVE_RATES = (1e-5, 1e-4, 1e-3, 1e-2)


@dataclass(frozen=True)
class Task:
    """One task at one period, with the paper's momentum.

    Attributes:
        name: as the figure has it.
        targets: of one period; with ``measured`` only their count matters.
        spikes: targets are classes and the output logistic, else linear.
        rates: of learning, to be swept.
    """

    name: str
    targets: tuple[float, ...]
    spikes: bool
    momentum: float
    rates: tuple[float, ...]
    measured: bool = False

    def lesson(self, rate: float, forget_bias: float, steps: int) -> Lesson:
        """How it is learnt."""
        return Lesson(
            targets=self.targets,
            measured=self.measured,
            logistic=self.spikes,
            tolerance=0.49 if self.spikes else 0.3,
            momentum=self.momentum,
            rate=rate,
            forget_bias=forget_bias,
            steps=steps,
        )


def timed_spike(period: int) -> tuple[float, ...]:
    """GTS: 1 at the last step of a period, else 0."""
    return (0.0,) * (period - 1) + (1.0,)


def curve(shape: str, period: int) -> tuple[float, ...]:
    """PFG: ``shape`` is ``"cosine"``, ``"triangle"`` or ``"rectangle"``; from 0 to 1 and back."""
    phases = [step / period for step in range(period)]
    if shape == "cosine":
        return tuple((1 - math.cos(2 * math.pi * phase)) / 2 for phase in phases)
    if shape == "triangle":
        return tuple(1 - abs(1 - 2 * phase) for phase in phases)
    return tuple(float(phase >= 0.5) for phase in phases)


def _curve(shape: str, period: int) -> Task:
    return Task(f"PFG {shape} {period}", curve(shape, period), False, 0.99, CURVE_RATES)


TASKS = (
    Task("MSD 10/11", (0.0,) * 10, True, 0.9999, SPIKE_RATES, measured=True),
    Task("GTS 10", timed_spike(10), True, 0.999, SPIKE_RATES),
    _curve("cosine", 10),
    _curve("cosine", 25),
    _curve("rectangle", 10),
    _curve("triangle", 10),
)
