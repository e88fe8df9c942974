"""The table that ends a training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
from rich.console import Console
from rich.table import Table

from recipes.common.averaging import Parts, write_mean
from recipes.common.corpus import split_note
from recipes.common.export import read_checkpoint
from recipes.common.module import SpeechModule
from recipes.common.monitor import Monitor
from recipes.common.recipe import Recipe

__all__ = ["Average", "evaluate_average", "print_results"]


@dataclass(frozen=True)
class Average:
    """The mean of several checkpoints, and what it gives on the development set."""

    path: Path
    count: int
    score: float


def evaluate_average(trainer: pl.Trainer, module: SpeechModule, monitor: Monitor) -> Average | None:
    """Average what :class:`Parts` kept, if anything, and evaluate it with all processes.

    Raises:
        AsrError: a checkpoint is damaged.
        OSError: the disk is full.
    """
    parts = next((c for c in trainer.callbacks if isinstance(c, Parts)), None)
    if parts is None or not parts.paths:
        return None
    if trainer.is_global_zero:
        write_mean(parts)
    trainer.strategy.barrier()
    module.load_state_dict(read_checkpoint(parts.target)["state_dict"])
    (values,) = trainer.validate(module, trainer.datamodule, verbose=False)
    if trainer.is_global_zero:
        write_mean(parts, module.priors)
    return Average(parts.target, len(parts.paths), values[monitor.key])


def print_results(
    recipe: Recipe,
    trainer: pl.Trainer,
    module: SpeechModule,
    monitor: Monitor,
    average: Average | None,
    seconds: float,
) -> None:
    """Print what was trained, how well, and where it lies."""
    rows = {
        "cell": module.model.config.network.cell,
        "weights": f"{sum(p.numel() for p in module.model.parameters()):,}",
        "epochs": str(trainer.current_epoch),
        "wall time": f"{seconds / 60:.1f} min",
        **_scores(trainer, monitor, average),
    }
    note = split_note(trainer.datamodule.data_dir)
    table = Table("what", "value", title=f"{recipe.title}: training finished", caption=note)
    for name, value in rows.items():
        table.add_row(name, value)
    # A path is whole, so that it can be copied, also where it is wider than the terminal.
    console = Console()
    needed = max(map(len, rows)) + max(map(len, rows.values())) + len("┃  ┃  ┃")
    console.width = max(console.width, needed)
    console.print(table)


def _scores(trainer: pl.Trainer, monitor: Monitor, average: Average | None) -> dict[str, str]:
    checkpoint = trainer.checkpoint_callback  # none in a trial run
    if checkpoint is None or checkpoint.best_model_score is None:
        return {}
    score = float(checkpoint.best_model_score)
    rows = {
        f"best {monitor.label}": monitor.shown(score),
        "best checkpoint": str(Path(checkpoint.best_model_path).absolute()),
    }
    if average is not None:
        said = "better than the best" if average.score < score else "not better than the best"
        rows[f"mean of {average.count} checkpoints"] = f"{monitor.shown(average.score)}, {said}"
        rows["their mean"] = str(average.path.absolute())
    return rows
