"""Training by LightningCLI: a recipe's YAML, overridden on the command line."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack

from pytorch_lightning.utilities.exceptions import MisconfigurationException

from asr.types import ConfigError
from recipes.common.fit_cli import SpeechCLI
from recipes.common.recipe import Recipe
from recipes.common.results import evaluate_average, print_results
from recipes.common.trainer_options import one_line

__all__ = ["fit", "quieten"]


def fit(recipe: Recipe, argv: Sequence[str]) -> None:
    """Train ``recipe``; an interrupted run goes on with ``--resume true``.

    Raises:
        AsrError: options that cannot work, data that is not prepared, nothing to train on, a run
            folder in use, a checkpoint that does not fit, a loss that is not finite.
        OSError: the run's folder cannot be written.
    """
    quieten()
    with ExitStack() as held:
        _train(recipe, SpeechCLI(recipe, list(argv), held))


def _train(recipe: Recipe, cli: SpeechCLI) -> None:
    """Train as the options in ``cli`` say, and print the results."""
    started = time.monotonic()
    cli.preflight()
    cli.model.metric = recipe.metric_of(cli.model.tokenizer.kind)
    cli.model.text = cli.datamodule.text
    try:
        # Our own file, written by this run: it also holds Lightning's loop states.
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.checkpoint, weights_only=False)
        average = evaluate_average(cli.trainer, cli.model, cli.monitor)
    except SystemExit:  # how Lightning ends on Ctrl-C
        raise KeyboardInterrupt from None
    except (MisconfigurationException, ImportError) as error:  # a callback or profiler lacks a part
        raise ConfigError(one_line(error), remedy="mend the --trainer options") from None
    if cli.trainer.is_global_zero:
        seconds = time.monotonic() - started
        print_results(recipe, cli.trainer, cli.model, cli.monitor, average, seconds)


def quieten() -> None:
    """Silence advice that does not apply here; warnings that do are still shown."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # audio is small beside the recurrence
        ".*args parameter is intended to run.*",  # the command before it is ours
        ".*is deprecated, use .isinstance.treespec.*",  # inside Lightning
        ".*smaller than the logging interval.*",  # the epoch's own values are logged
        ".*dataloader is not resumable.*",  # ours goes on where it stopped
        ".*Checkpoint directory .* exists and is not empty.*",  # a run that goes on
        ".*configure_optimizers. will be overridden by.*",  # as --optimizer asks for
    ):
        warnings.filterwarnings("ignore", message)
