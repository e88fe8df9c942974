"""What happens beside the steps of a training run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, WeightAveraging
from torch import Tensor

from asr.types import ConfigError
from recipes.common.batches import SEEDS

__all__ = ["MovingAverage", "OptimizerOptions", "Patience", "SeedEachStep", "StopAtLastStep"]


class SeedEachStep(Callback):
    """Seeds torch before each batch by seed, epoch, batch and process.

    Dropout, masks and noise are then the same whether a run was interrupted or not, and differ
    between the processes of a distributed run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed % SEEDS

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed all of torch's generators."""
        epoch = trainer.fit_loop.epoch_progress.current.processed
        key = [self.seed, epoch, batch_idx, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))


class MovingAverage(WeightAveraging):
    """Exponential moving average of the weights; checkpoints and development scores are of it.

    The first steps weigh less, as in Tan & Le (2019, "EfficientNet"): after n of them the decay is
    at most (1 + n) / (10 + n). Features' statistics are not averaged.

    Args:
        decay: share of the average that a step leaves; 0.999 averages about a thousand steps.
    """

    def __init__(self, decay: float) -> None:
        if not 0.0 < decay < 1.0:
            raise ConfigError(f"the average's decay is {decay}", remedy="give a number in (0, 1)")

        def average(mean: Tensor, now: Tensor, updates: Tensor | int) -> Tensor:
            kept = min(decay, (1 + int(updates)) / (10 + int(updates)))
            return mean + (1 - kept) * (now - mean)

        super().__init__(use_buffers=False, avg_fn=average)


class Patience(EarlyStopping):
    """Ends training after ``patience`` passes without a better value, as asked now.

    Lightning's own takes the patience of a resumed run's beginning.
    """

    @property
    def state_key(self) -> str:
        """The key of Lightning's own class, so that runs of earlier versions go on."""
        return super().state_key.replace(type(self).__qualname__, "EarlyStopping", 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what the run has seen."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Train no further where the run had ended already."""
        if self.wait_count >= self.patience:
            pl_module.print(f"{self.wait_count} epochs without a better error rate: nothing to do")
            trainer.should_stop = True


class StopAtLastStep(Callback):
    """Ends training at ``max_steps`` as a time limit does: with a pass over the development set.

    Lightning itself makes none in the middle of an epoch, and so finds no best model.
    """

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stop after the last step."""
        if 0 < trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True


class OptimizerOptions(Callback):
    """Gives a resumed run the learning rate and weight decay asked for now.

    Lightning restores those of the run's beginning with the optimiser's state. A rate is changed as
    far as what is asked for has changed: one that the training itself has lowered stays low.
    """

    def __init__(self) -> None:
        self.before: list[float] = []  # peaks asked for when the checkpoint was written
        self.asked: list[tuple[float, float | None]] = []  # peak, and weight decay if there is any

    def state_dict(self) -> dict[str, Any]:
        """The learning rates asked for."""
        return {"peaks": [peak for peak, _ in self.asked]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what was asked for before."""
        self.before = state_dict["peaks"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember what the options say, before the state is restored."""
        self.asked = [(_peak(group), group.get("weight_decay")) for group in _groups(trainer)]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put it in the place of what was restored."""
        groups = _groups(trainer)
        # Runs of earlier versions do not say what was asked for: their schedules do, or none can.
        before = self.before or [_peak(group) for group in groups]
        for group, (peak, weight_decay), was in zip(groups, self.asked, before, strict=True):
            if weight_decay is not None:
                group["weight_decay"] = weight_decay
            if peak != was and (self.before or "initial_lr" in group):
                group["lr"] *= peak / was
                if "initial_lr" in group:
                    group["initial_lr"] = peak
        for config in trainer.lr_scheduler_configs:
            if hasattr(config.scheduler, "base_lrs"):
                config.scheduler.base_lrs = [
                    _peak(group) for group in config.scheduler.optimizer.param_groups
                ]


def _groups(trainer: pl.Trainer) -> list[dict[str, Any]]:
    return [group for optimizer in trainer.optimizers for group in optimizer.param_groups]


def _peak(group: dict[str, Any]) -> float:
    """The learning rate that a schedule's factors multiply."""
    return group.get("initial_lr", group["lr"])
