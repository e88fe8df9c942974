"""How the learning rate goes over a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.trainer.states import TrainerFn

from asr.types import ConfigError

__all__ = ["KINDS", "Annealing", "ScheduleOptions"]

KINDS = ("cosine", "linear", "constant", "one-cycle", "newbob")
COUNTS = ("epochs", "steps")
FIRST_FRACTION = 1 / 25  # of the peak, where one cycle begins (Smith & Topin 2018; fastai)


@dataclass(frozen=True)
class ScheduleOptions:
    """The learning rate as a fraction of its peak.

    Attributes:
        kind: ``"cosine"`` or ``"linear"`` fall to the end of training; ``"constant"`` does not;
            ``"one-cycle"`` rises along half a cosine, then falls along another (Smith & Topin,
            "Super-convergence", 2018); ``"newbob"`` falls when the development set no longer
            improves.
        by: what progress is counted in: ``"epochs"`` keeps the rate for an epoch, ``"steps"``
            changes it with each step.
        warmup_steps: steps of linear rise, whatever the kind.
        final_fraction: the last rate, as a fraction of the peak; newbob goes no lower.
        rise: share of the training in which one cycle rises.
        annealing: the factor by which newbob lowers the rate.
        improvement: newbob lowers it after a development pass that is not better than the best by
            this fraction of it.
        patience: so many such passes newbob lets go by.
    """

    kind: str = "cosine"
    by: str = "epochs"
    warmup_steps: int = 200
    final_fraction: float = 0.01
    rise: float = 0.3
    annealing: float = 0.5
    improvement: float = 0.005
    patience: int = 0

    def __post_init__(self) -> None:
        for name, choices in (("kind", KINDS), ("by", COUNTS)):
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"the schedule's {name} is {getattr(self, name)!r}",
                    remedy=f"choose {', '.join(choices)}",
                )
        for name in ("warmup_steps", "patience"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}", remedy="give 0 or more")
        for name in ("final_fraction", "rise", "annealing", "improvement"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}", remedy="give a number between 0 and 1"
                )

    def factor(self, step: int, progress: float) -> float:
        """The rate before ``step``, from 0, as a fraction of the peak.

        ``progress`` goes from 0 to 1 over the training.
        """
        warmup = min(1.0, (step + 1) / max(1, self.warmup_steps))
        return warmup * self._shape(progress)

    def _shape(self, progress: float) -> float:
        if self.kind in ("constant", "newbob"):
            return 1.0
        if self.kind == "linear":
            return 1.0 + (self.final_fraction - 1.0) * progress
        if self.kind == "one-cycle" and progress < self.rise:
            return _half_cosine(FIRST_FRACTION, 1.0, progress / self.rise)
        if self.kind == "one-cycle":
            progress = (progress - self.rise) / max(1.0 - self.rise, 1e-9)
        return _half_cosine(1.0, self.final_fraction, min(1.0, progress))


def _half_cosine(first: float, last: float, progress: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


class Annealing(Callback):
    """Newbob: lowers the learning rate when the development set no longer improves.

    Args:
        options: of the schedule.
        monitor: the value that should fall.
    """

    def __init__(self, options: ScheduleOptions, monitor: str) -> None:
        self.options = options
        self.monitor = monitor
        self.factor = 1.0
        self.best = math.inf
        self.waited = 0

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on with."""
        return {"factor": self.factor, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it over."""
        self.factor, self.best, self.waited = (
            state_dict[name] for name in ("factor", "best", "waited")
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the module how far the rate has fallen."""
        pl_module.annealed = self.factor

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lower the rate if this pass is not better than the best by enough."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        self.observe(float(trainer.callback_metrics[self.monitor]))
        pl_module.annealed = self.factor

    def observe(self, value: float) -> None:
        """Count a development pass that gave ``value``."""
        # A first pass, and one after a perfect one, are told apart without dividing by 0.
        better = value < self.best and self.best - value >= self.options.improvement * self.best
        self.waited = 0 if better or math.isinf(self.best) else self.waited + 1
        self.best = min(self.best, value)
        if self.waited > self.options.patience:
            self.factor = max(self.factor * self.options.annealing, self.options.final_fraction)
            self.waited = 0
