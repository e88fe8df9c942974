"""Checkpoints and configuration of a run: written whole, and right wherever the folder lies."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from asr.files.write import write_bytes, write_text
from asr.types import TrainingError
from recipes.common.interim import counted_within_epoch, is_within_epoch

__all__ = ["CheckpointWriter", "LastCheckpoint", "RunCheckpoint", "RunConfig"]


class CheckpointWriter(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, then calls ``written``."""

    def __init__(self, written: Callable[[], None]) -> None:
        self.written = written

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write beside ``path``, then rename.

        Raises:
            TrainingError: the disk is full or cannot be written; what was at ``path`` is still
                there.
        """
        buffer = BytesIO()
        torch.save(checkpoint, buffer)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, buffer.getvalue())
        except OSError as error:
            raise TrainingError(
                f"cannot write the checkpoint: {error.strerror}",
                where=str(path),
                remedy="make room, then go on with --resume true; the one before is whole",
            ) from None
        self.written()


class RunCheckpoint(ModelCheckpoint):
    """A checkpoint in the run's folder, which may have been moved since the run began."""

    @property
    def state_key(self) -> str:
        """The key of Lightning's own class, so that runs of earlier versions go on."""
        return super().state_key.replace(type(self).__qualname__, "ModelCheckpoint", 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what the run knows of its checkpoints; of those that are gone, nothing."""
        if not Path(self._here(state_dict["best_model_path"])).is_file():
            return
        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        scores = {self._here(p): score for p, score in state_dict["best_k_models"].items()}
        super().load_state_dict(
            {
                **state_dict,
                "dirpath": self.dirpath,
                "best_k_models": {p: score for p, score in scores.items() if Path(p).is_file()},
                **{name: self._here(state_dict[name]) for name in names},
            }
        )
        self.current_score = state_dict["current_score"]  # which Lightning leaves out

    def _here(self, path: str) -> str:
        return str(Path(self.dirpath or "") / Path(path).name) if path else path


class LastCheckpoint(RunCheckpoint):
    """The checkpoint after each epoch; of one that was ended early, to go on at its next batch."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write it."""
        if not is_within_epoch(trainer):
            super().on_train_epoch_end(trainer, pl_module)
            return
        with counted_within_epoch(trainer):
            super().on_train_epoch_end(trainer, pl_module)


class RunConfig(pl.Callback):
    """Keeps ``config.yaml``: what the run's checkpoints were trained with.

    A new run has it from its beginning. A resumed one keeps that of before until it has written a
    checkpoint of its own.
    """

    def __init__(self, path: Path, text: str, *, resumed: bool) -> None:
        self.path = path
        self.text = text
        self.resumed = resumed

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write it for a new run."""
        if trainer.is_global_zero and not self.resumed and not trainer.fast_dev_run:
            self.write()

    def write(self) -> None:
        """Write it, once."""
        if self.text:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, self.text)
            self.text = ""
