"""What runs beside the steps of a training run: which callbacks, for which options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import LearningRateMonitor, ProgressBar

from recipes.common.averaging import Parts
from recipes.common.callbacks import (
    MovingAverage,
    OptimizerOptions,
    Patience,
    SeedEachStep,
    StopAtLastStep,
)
from recipes.common.checkpoints import LastCheckpoint, RunCheckpoint
from recipes.common.curves import Curves
from recipes.common.interim import GoOn, InterimCheckpoint
from recipes.common.largest import LargestBatchesFirst
from recipes.common.means import EpochMeans
from recipes.common.monitor import Monitor
from recipes.common.progress import EpochBar, EpochLines
from recipes.common.run_options import RunOptions
from recipes.common.schedule import Annealing, ScheduleOptions

__all__ = ["checkpoint_callbacks", "display_callbacks", "given_callbacks", "step_callbacks"]


def checkpoint_callbacks(options: RunOptions, run_dir: Path, monitor: Monitor) -> list[pl.Callback]:
    """The best and the last checkpoint, and those that are averaged."""
    folder = run_dir / "checkpoints"
    where: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False}
    callbacks: list[pl.Callback] = [
        RunCheckpoint(filename="best", monitor=monitor.key, mode="min", **where),
        # Apart from the best, since `save_last` writes only when the best does.
        LastCheckpoint(filename="last", save_on_train_epoch_end=True, **where),
        GoOn(),
    ]
    steps, minutes = options.checkpoint_steps, options.checkpoint_minutes
    if steps or minutes:
        callbacks.append(InterimCheckpoint(folder / "last.ckpt", steps, minutes))
    if options.to_average is not None:
        callbacks.append(Parts(options.to_average, folder, monitor.key))
    return callbacks


def step_callbacks(
    options: RunOptions, schedule: ScheduleOptions, seed: int, monitor: Monitor
) -> list[pl.Callback]:
    """Early stopping, the learning rate, chance, and the moving average."""
    callbacks: list[pl.Callback] = [
        Patience(monitor.key, patience=options.patience, mode="min"),
        StopAtLastStep(),
        OptimizerOptions(),
        SeedEachStep(seed),
        LargestBatchesFirst(),
        EpochMeans(),
    ]
    if schedule.kind == "newbob":
        callbacks.append(Annealing(schedule, monitor.key))
    if options.ema:
        callbacks.append(MovingAverage(options.ema))
    return callbacks


def display_callbacks(
    trainer_options: Mapping[str, Any], run_dir: Path, monitor: Monitor
) -> list[pl.Callback]:
    """What a person sees; ``trainer_options`` are Lightning's."""
    callbacks: list[pl.Callback] = [EpochLines(monitor), Curves(run_dir)]
    if trainer_options["logger"]:
        callbacks.append(LearningRateMonitor("step"))
    given = given_callbacks(trainer_options)
    if trainer_options["enable_progress_bar"] and not any(
        isinstance(callback, ProgressBar) for callback in given
    ):
        callbacks.append(EpochBar(monitor))
    return callbacks


def given_callbacks(trainer_options: Mapping[str, Any]) -> list[pl.Callback]:
    """The callbacks of the configuration: none, one or several."""
    callbacks = trainer_options["callbacks"]
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
