"""Learning curves in the run's folder: numbers as CSV, a picture as PNG."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.trainer.states import TrainerFn

from asr.files.write import write_text
from asr.plots import draw_curves, save_picture

__all__ = ["Curves"]

DEVELOPMENT = ("dev/loss", "dev/error_rate", "dev/token_error_rate")
COLUMNS = (
    *("epoch", "step", "train_loss", *(key.replace("/", "_") for key in DEVELOPMENT)),
    *("learning_rate", "seconds"),
)
SECONDS_BETWEEN_PICTURES = 60.0


class Curves(Callback):
    """Keeps a row for each development pass and each epoch: in the checkpoint, and in files.

    A run that goes on from a checkpoint has the rows from before it, and no others.

    Args:
        folder: where ``curves.csv`` and ``curves.png`` go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """The rows."""
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the rows of before."""
        self.rows = [dict(row) for row in state_dict["rows"]]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock where it stopped."""
        before = self.rows[-1]["seconds"] if self.rows else 0.0
        self.drawn_at = time.monotonic()
        self.began = self.drawn_at - before

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add what the pass has given."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        metrics = trainer.callback_metrics
        row = self._row(trainer)
        row.update({k.replace("/", "_"): float(metrics[k]) for k in DEVELOPMENT if k in metrics})
        self._write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch's training loss."""
        metrics = trainer.callback_metrics
        row = self._row(trainer)
        if "train/loss_epoch" in metrics:
            row["train_loss"] = float(metrics["train/loss_epoch"])
        self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the whole."""
        if self.rows:
            self._draw(trainer)

    def _row(self, trainer: pl.Trainer) -> dict[str, float]:
        """The row of this step, new if there is none."""
        if not self.rows or self.rows[-1]["step"] != trainer.global_step:
            self.rows.append({"step": trainer.global_step})
        row = self.rows[-1]
        row["epoch"] = trainer.current_epoch + 1
        row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        row["seconds"] = round(time.monotonic() - self.began, 1)
        return row

    def _write(self, trainer: pl.Trainer) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.folder / "curves.csv", text.getvalue())
        if time.monotonic() - self.drawn_at >= SECONDS_BETWEEN_PICTURES:
            self._draw(trainer)

    def _draw(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero and not trainer.fast_dev_run:
            save_picture(draw_curves(self.rows), self.folder / "curves.png")
            self.drawn_at = time.monotonic()
