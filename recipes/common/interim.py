"""Checkpoints within an epoch, from which training goes on at the very next step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

__all__ = ["GoOn", "InterimCheckpoint", "counted_within_epoch", "is_within_epoch"]


def is_within_epoch(trainer: pl.Trainer) -> bool:
    """Whether batches of the epoch are left: a limit of steps or of time has ended it."""
    return not trainer.fit_loop.epoch_loop._num_ready_batches_reached()


@contextmanager
def counted_within_epoch(trainer: pl.Trainer) -> Iterator[None]:
    """Count an epoch that was ended early as one that waits for its next batch, for a checkpoint.

    Batches whose gradients waited for more are to be done again.
    """
    loop = trainer.fit_loop
    epochs: list[Any] = [loop.epoch_progress.current, loop.epoch_progress.total]
    batches: list[Any] = [
        loop.epoch_loop.batch_progress.current,
        loop.epoch_loop.batch_progress.total,
    ]
    before = [dict(vars(count)) for count in (*epochs, *batches)]
    waiting = batches[0].processed % trainer.accumulate_grad_batches
    for count in epochs:
        count.processed -= 1
    for count in batches:
        count.processed -= waiting
        count.started = count.completed = count.processed
        count.ready = count.processed + 1
    try:
        yield
    finally:
        for count, values in zip((*epochs, *batches), before, strict=True):
            vars(count).update(values)


class InterimCheckpoint(Callback):
    """Writes the last checkpoint within an epoch as well, each so many steps or minutes.

    It is written before a batch: the one before is then done with, and so is a development pass
    that was due behind it. Gradients that wait for more batches are in no checkpoint, hence it
    waits for the step that they are for.

    Args:
        path: the run's last checkpoint.
        steps: from one to the next; 0 for none.
        minutes: likewise.
    """

    def __init__(self, path: Path, steps: int, minutes: float) -> None:
        self.path = path
        self.steps = steps
        self.minutes = minutes

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from here."""
        self._start_anew(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from here: each epoch ends with a checkpoint."""
        self._start_anew(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write it where it is due."""
        within = batch_idx > 0 and batch_idx % trainer.accumulate_grad_batches == 0
        if within and not trainer.fast_dev_run and self._is_due(trainer):
            trainer.save_checkpoint(self.path)
            self._start_anew(trainer)

    def _start_anew(self, trainer: pl.Trainer) -> None:
        self.saved_step = trainer.global_step
        self.saved_at = time.monotonic()

    def _is_due(self, trainer: pl.Trainer) -> bool:
        by_steps = 0 < self.steps <= trainer.global_step - self.saved_step
        if not self.minutes:
            return by_steps
        by_time = time.monotonic() - self.saved_at >= 60 * self.minutes
        return bool(trainer.strategy.reduce_boolean_decision(by_steps or by_time, all=False))


class GoOn(Callback):
    """Puts Lightning's counters right where it goes on with a run."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the next epoch where a whole one was done.

        With ``max_steps`` Lightning takes a run's end of an epoch for the middle of one, and would
        end it a second time. A checkpoint before a batch counts that batch as begun; the number of
        all batches, by which development passes come, is of those that are done. An epoch whose
        batches are others now, by their size for one, begins anew.
        """
        loop = trainer.fit_loop
        total: Any = loop.epoch_loop.batch_progress.total
        total.ready = total.completed = total.processed
        if trainer.datamodule.begins_anew:
            pl_module.print(
                f"epoch {trainer.current_epoch + 1} begins anew: its batches are others than before"
            )
            loop.epoch_loop.restarting = False
            pl_module.means.sums.clear()
        if loop.restarted_on_epoch_end:
            loop.reset_restart_stage()
            loop.epoch_loop.restarting = False
            loop._restarting = False
            loop.epoch_progress.current.completed = loop.epoch_progress.current.processed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count logged steps by those of the optimiser, as in a run that was not interrupted."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
