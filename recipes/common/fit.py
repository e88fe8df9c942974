"""Training by LightningCLI: a recipe's YAML, overridden on the command line."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence

from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich.console import Console
from rich.table import Table

from asr.types import ConfigError
from recipes.common.corpus import split_note
from recipes.common.fit_cli import SpeechCLI
from recipes.common.recipe import Recipe
from recipes.common.trainer_options import one_line

__all__ = ["fit"]


def fit(recipe: Recipe, argv: Sequence[str]) -> None:
    """Train ``recipe``; an interrupted run goes on with ``--resume true``.

    Raises:
        AsrError: options that cannot work, data that is not prepared, nothing to train on, a run
            folder in use, a checkpoint that does not fit, a loss that is not finite.
        OSError: the run's folder cannot be written.
    """
    _quieten()
    cli = SpeechCLI(recipe, list(argv))
    started = time.monotonic()
    cli.preflight()
    cli.model.metric = recipe.metric
    try:
        # Our own file, written by this run: it also holds Lightning's loop states.
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.checkpoint, weights_only=False)
    except SystemExit:  # how Lightning ends on Ctrl-C
        raise KeyboardInterrupt from None
    except (MisconfigurationException, ImportError) as error:  # a callback or profiler lacks a part
        raise ConfigError(one_line(error), remedy="mend the --trainer options") from None
    if cli.trainer.is_global_zero:
        _print_results(recipe, cli, time.monotonic() - started)


def _quieten() -> None:
    """Silence advice that does not apply here; warnings that do are still shown."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # audio is small beside the recurrence
        ".*args parameter is intended to run.*",  # the command before it is ours
        ".*is deprecated, use .isinstance.treespec.*",  # inside Lightning
        ".*smaller than the logging interval.*",  # the epoch's own values are logged
        ".*Checkpoint directory .* exists and is not empty.*",  # a run that goes on
        ".*configure_optimizers. will be overridden by.*",  # as --optimizer asks for
    ):
        warnings.filterwarnings("ignore", message)


def _print_results(recipe: Recipe, cli: SpeechCLI, seconds: float) -> None:
    note = split_note(cli.datamodule.data_dir)
    table = Table("what", "value", title=f"{recipe.title}: training finished", caption=note)
    weights = sum(p.numel() for p in cli.model.model.parameters())
    table.add_row("cell", cli.model.model.config.network.cell)
    table.add_row("weights", f"{weights:,}")
    table.add_row("epochs", str(cli.trainer.current_epoch))
    table.add_row("wall time", f"{seconds / 60:.1f} min")
    checkpoint = cli.trainer.checkpoint_callback  # none in a trial run
    if checkpoint is not None and checkpoint.best_model_score is not None:
        score = float(checkpoint.best_model_score)
        table.add_row(f"best development {recipe.metric.name} (greedy)", f"{100 * score:.2f} %")
        table.add_row("best checkpoint", str(checkpoint.best_model_path))
    Console().print(table)
