"""What happens beside the steps of a training run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from recipes.common.batches import SEEDS

__all__ = ["SeedEachStep"]


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
