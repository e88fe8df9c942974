"""The largest batches first, so that a lack of memory shows at once and not after hours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from asr.types import DeviceMemoryError
from recipes.common.data import Batch

__all__ = ["LargestBatchesFirst"]


class LargestBatchesFirst(Callback):
    """Computes the largest training batch forwards and backwards, and the largest of development.

    Nothing is learned from them: no step is taken, nothing is logged, and chance is as before.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compute both.

        Raises:
            DeviceMemoryError: one does not fit into the memory.
            AsrError: the longest utterances cannot be read.
        """
        data, device = trainer.datamodule, pl_module.device
        autocast = trainer.precision_plugin.train_step_context
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            batch = data.largest_batch("train")
            with _memory_for("training", batch, data.sample_rate):
                with autocast():
                    loss, _ = pl_module.training_loss(batch.to(device))
                loss.backward()
            pl_module.zero_grad(set_to_none=True)
            batch = data.largest_batch("dev")
            pl_module.eval()
            with _memory_for("development", batch, data.sample_rate), torch.no_grad(), autocast():
                pl_module(batch.to(device))
            pl_module.train()


@contextmanager
def _memory_for(what: str, batch: Batch, sample_rate: int) -> Iterator[None]:
    """Tell of a lack of memory in a line."""
    try:
        yield
    except torch.OutOfMemoryError:
        count, samples = batch.waveforms.shape
        raise DeviceMemoryError(
            f"the largest {what} batch, {count} utterances of {samples / sample_rate:.1f} s, does "
            "not fit into the memory",
            remedy="give a smaller --data.batch_seconds or --data.batch_size, or "
            "--model.network.recompute true",
        ) from None
