"""Means over an epoch that an interruption does not change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from recipes.common.interim import is_within_epoch

__all__ = ["EpochMeans", "Means"]

Reduce = Callable[[list[float]], list[float]]


@dataclass
class Means:
    """Sums of what the batches of an epoch give, weighted; by name."""

    sums: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, name: str, value: float, weight: float) -> None:
        """Count ``value``, the mean of ``weight`` utterances."""
        total, weights = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = total + value * weight, weights + weight

    def over(self, processes: Reduce) -> dict[str, tuple[float, float]]:
        """The sums of all processes, which ``processes`` adds up."""
        found = {}
        for name, sums in self.sums.items():
            total, weights = processes(list(sums))
            found[name] = total, weights
        return found


class EpochMeans(Callback):
    """Logs the means of an epoch's training when it is over, and begins anew.

    Those of an epoch that was ended early stay: a run that goes on adds to them.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log them."""
        for name, (total, weights) in pl_module.means.over(pl_module.over_processes).items():
            pl_module.log(f"{name}_epoch", total / weights)
        if not is_within_epoch(trainer):
            pl_module.means.sums.clear()
