"""The mean of a run's last or best checkpoints, which often errs less than any of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.decoding import Priors
from asr.files.write import write_bytes
from asr.types import ConfigError, TrainingError
from recipes.common.checkpoints import RunCheckpoint
from recipes.common.export import read_checkpoint
from recipes.common.module import CHECKPOINT_KEY
from recipes.common.priors import LOG_PRIORS

__all__ = ["AverageOptions", "Parts", "mean_checkpoint", "write_mean"]

FILE, FOLDER = "average.ckpt", "to_average"


@dataclass(frozen=True)
class AverageOptions:
    """Which checkpoints are averaged: the ``"last"`` or the ``"best"``, and how many of them."""

    which: str
    count: int

    @classmethod
    def parse(cls, text: str) -> AverageOptions:
        """Read ``last:5`` or ``best:5``.

        Raises:
            ConfigError: the text has another form.
        """
        which, _, count = text.partition(":")
        if which not in ("last", "best") or not count.isascii() or not count.isdigit():
            raise ConfigError(f"--average is {text!r}", remedy="give last:5 or best:5, say")
        if int(count) < 2:
            raise ConfigError(f"--average is {text!r}", remedy="give at least 2 checkpoints")
        return cls(which, int(count))


class Parts(RunCheckpoint):
    """Keeps the weights that are averaged in the end, one file a development pass.

    Args:
        options: which, and how many.
        folder: of the run's checkpoints.
        monitor: the value by which the best are chosen.
    """

    def __init__(self, options: AverageOptions, folder: Path, monitor: str) -> None:
        by = ("step", "max") if options.which == "last" else (monitor, "min")
        super().__init__(
            folder / FOLDER,
            filename="{step}",
            monitor=by[0],
            mode=by[1],
            save_top_k=options.count,
            save_weights_only=True,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        self.target = folder / FILE

    @property
    def state_key(self) -> str:
        """A key of its own beside that of the run's best checkpoint."""
        return f"parts of the average by {self.monitor}"

    @property
    def paths(self) -> list[Path]:
        """The files there are, oldest first."""
        found = [Path(path) for path in self.best_k_models]
        return sorted(found, key=lambda path: int(path.stem.partition("=")[2]))


def mean_checkpoint(paths: Iterable[Path], priors: Priors | None = None) -> dict[str, Any]:
    """The newest of the checkpoints, with the mean of all their weights; ``paths`` oldest first.

    ``priors`` are those of the mean, where they are known: those of the newest are near them.

    Raises:
        TrainingError: there is none, or one is damaged.
    """
    sums: dict[str, Tensor] = {}
    count = 0
    for path in paths:
        checkpoint = read_checkpoint(path)
        for name, value in checkpoint["state_dict"].items():
            sums[name] = sums.get(name, 0.0) + value.double()
        count += 1
    if not count:
        raise TrainingError("there are no checkpoints to average", remedy="train for longer")
    last = checkpoint["state_dict"]
    mean = {name: (total / count).to(last[name].dtype) for name, total in sums.items()}
    plain = checkpoint[CHECKPOINT_KEY]
    if priors is not None:
        plain = {**plain, LOG_PRIORS: list(priors.log_priors)}
    return {**checkpoint, "state_dict": mean, CHECKPOINT_KEY: plain}


def write_mean(parts: Parts, priors: Priors | None = None) -> None:
    """Write the mean of ``parts`` as a checkpoint, with its ``priors`` if they are known.

    Raises:
        TrainingError: a checkpoint is damaged.
        OSError: the disk is full.
    """
    buffer = BytesIO()
    torch.save(mean_checkpoint(parts.paths, priors), buffer)
    write_bytes(parts.target, buffer.getvalue())
