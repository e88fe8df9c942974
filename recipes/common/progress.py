"""What a person sees of a training run: a bar for the epoch, and one line that stays of each."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm

from recipes.common.monitor import Monitor, MonitorName

__all__ = ["EpochBar", "EpochLines"]


class EpochBar(TQDMProgressBar):
    """The batches of an epoch with the time they still take; gone when the epoch is over."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(refresh_rate=10)
        self.monitor = monitor

    def init_train_tqdm(self) -> Tqdm:
        """A bar that goes with its epoch."""
        bar = super().init_train_tqdm()
        bar.leave = False
        return bar

    def on_train_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Make the bar; where a run goes on within an epoch, Lightning does not begin one."""
        super().on_train_start(trainer, *args)
        if trainer.fit_loop.restarted_mid_epoch:
            self.on_train_epoch_start(trainer, *args)

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Count epochs as their lines do."""
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description(_epoch(trainer, trainer.current_epoch + 1))

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The loss, and what the last development pass gave."""
        shown = {}
        metrics = trainer.progress_bar_metrics
        if (loss := metrics.get("train/loss_step", metrics.get("train/loss"))) is not None:
            shown["loss"] = f"{loss:.3f}"
        value = trainer.callback_metrics.get(self.monitor.key)
        if value is not None:
            shown[self.monitor.name] = self.monitor.shown(float(value))
        return shown


class EpochLines(Callback):
    """Prints a line at the end of each epoch: losses, error rate, times.

    Args:
        monitor: the value by which an epoch is the best.
    """

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.best = float("inf")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, and take over the best value of a resumed run."""
        self.began = self.epoch_began = time.monotonic()
        self.share_before = _share_done(trainer)
        score = getattr(trainer.checkpoint_callback, "best_model_score", None)
        self.best = float("inf") if score is None else float(score)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line."""
        now = time.monotonic()
        parts = [*self._results(trainer), _duration(now - self.epoch_began)]
        if left := self._left(trainer, now):
            parts.append(f"about {_duration(left)} left")
        epoch = _epoch(trainer, trainer.fit_loop.epoch_progress.current.processed)
        pl_module.print(f"{epoch}: {', '.join(parts)}")
        self.epoch_began = now

    def _results(self, trainer: pl.Trainer) -> list[str]:
        metrics = trainer.callback_metrics
        parts = []
        if "train/loss_epoch" in metrics:
            parts.append(f"loss {float(metrics['train/loss_epoch']):.3f}")
        names: list[MonitorName] = ["loss", "error_rate"]
        for option in dict.fromkeys([*names, self.monitor.option]):
            shown = replace(self.monitor, option=option)
            if shown.key in metrics:
                value = float(metrics[shown.key])
                best = option == self.monitor.option and value < self.best
                parts.append(f"{shown.name} {shown.shown(value)}{' (best)' * best}")
        self.best = min(self.best, float(metrics.get(self.monitor.key, self.best)))
        return parts

    def _left(self, trainer: pl.Trainer, now: float) -> float:
        """Seconds to the end, by the pace so far."""
        share = _share_done(trainer)
        pace = (now - self.began) / max(share - self.share_before, 1e-9)
        return 0.0 if trainer.should_stop else (1 - share) * pace


def _epoch(trainer: pl.Trainer, number: int) -> str:
    last = trainer.max_epochs
    return f"epoch {number} of {last}" if last and last > 0 else f"epoch {number}"


def _share_done(trainer: pl.Trainer) -> float:
    """How much of the run's epochs, or steps, is done."""
    epochs = trainer.fit_loop.epoch_progress.current.processed
    ends = ((epochs, trainer.max_epochs), (trainer.global_step, trainer.max_steps))
    return max((min(1.0, done / end) for done, end in ends if end and end > 0), default=0.0)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
