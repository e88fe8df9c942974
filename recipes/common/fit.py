"""Training by LightningCLI: a recipe's YAML, overridden on the command line."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
)
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import TensorBoardLogger
from rich.console import Console
from rich.table import Table

from asr.tokens import Tokenizer
from asr.types import TokenError, TrainingError
from recipes.common.callbacks import SeedEachStep
from recipes.common.data import SpeechDataModule, tokens_path
from recipes.common.module import SpeechModule
from recipes.common.recipe import Recipe
from recipes.common.renamed import with_new_names

__all__ = ["fit"]

MONITOR = "dev/error_rate"


def fit(recipe: Recipe, argv: Sequence[str]) -> None:
    """Train ``recipe``; an interrupted run goes on with ``--resume true``.

    Raises:
        AsrError: data that is not prepared, nothing to train on, a run folder in use, a loss
            that is not finite.
    """
    _quieten()
    cli = SpeechCLI(recipe, list(argv))
    started = time.monotonic()
    checkpoint = cli.checkpoint_to_resume()
    cli.preflight()
    cli.model.metric = recipe.metric
    try:
        # Our own file, written by this run: it also holds Lightning's loop states.
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=checkpoint, weights_only=False)
    except SystemExit:  # how Lightning ends on Ctrl-C
        raise KeyboardInterrupt from None
    _print_results(recipe, cli, time.monotonic() - started)


def _quieten() -> None:
    """Silence advice that does not apply here; warnings that do are still shown."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # audio is small beside the recurrence
        ".*args parameter is intended to run.*",  # the command before it is ours
        ".*is deprecated, use .isinstance.treespec.*",  # inside Lightning
    ):
        warnings.filterwarnings("ignore", message)


class SpeechCLI(LightningCLI):
    """Wires tokens and sample rate from the data to the model, and the run's folder."""

    def __init__(self, recipe: Recipe, argv: list[str]) -> None:
        self.recipe = recipe
        super().__init__(
            SpeechModule,
            SpeechDataModule,
            args=with_new_names(argv),
            run=False,
            seed_everything_default=0,
            save_config_callback=RunConfigCallback,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={
                "prog": f"python -m recipes.{recipe.name} fit",
                "default_config_files": [str(recipe.config)],
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run folder, resumption and early stopping."""
        parser.add_argument("--run_dir", type=str, default=str(self.recipe.paths.run))
        parser.add_argument("--resume", type=bool, default=False, help="go on from last.ckpt")
        parser.add_argument(
            "--patience", type=int, default=20, help="epochs without a better error rate"
        )
        parser.set_defaults({"data.data_dir": str(self.recipe.paths.data.absolute())})
        parser.link_arguments("data.data_dir", "model.tokens", compute_fn=_tokens)
        parser.link_arguments("data.data_dir", "model.token_kind", compute_fn=_token_kind)
        parser.link_arguments("model.features.sample_rate", "data.sample_rate")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)

    def before_instantiate_classes(self) -> None:
        """Refuse data that is not prepared."""
        Tokenizer.load(tokens_path(Path(self.config["data"]["data_dir"])))

    @property
    def run_dir(self) -> Path:
        """Where checkpoints and logs of this run go."""
        return Path(self.config["run_dir"])

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Add progress, logging, best and last checkpoints, and early stopping."""
        checkpoints = self.run_dir / "checkpoints"
        callbacks = [
            ModelCheckpoint(
                dirpath=checkpoints,
                filename="best",
                monitor=MONITOR,
                mode="min",
                enable_version_counter=False,
            ),
            # Apart from the best, since `save_last` writes only when the best does.
            ModelCheckpoint(dirpath=checkpoints, filename="last", enable_version_counter=False),
            EarlyStopping(MONITOR, patience=self.config["patience"], mode="min"),
            LearningRateMonitor("step"),
            SeedEachStep(self.datamodule.seed),
        ]
        if self.config["trainer"]["enable_progress_bar"] is not False:
            callbacks.append(TQDMProgressBar(refresh_rate=10))
        defaults = {
            "default_root_dir": self.run_dir,
            "logger": TensorBoardLogger(self.run_dir, name="tensorboard", version=""),
            "callbacks": callbacks,
            "use_distributed_sampler": False,  # ours shares out the data itself
            "num_sanity_val_steps": 0,
        }
        return super().instantiate_trainer(**{**kwargs, **defaults})

    def checkpoint_to_resume(self) -> Path | None:
        """Return the last checkpoint when asked to resume.

        Raises:
            TrainingError: nothing to resume, or a finished or interrupted run is in the way.
        """
        last = self.run_dir / "checkpoints" / "last.ckpt"
        if self.config["resume"]:
            if not last.is_file():
                raise TrainingError(
                    "nothing to resume", where=str(last), remedy="leave out --resume"
                )
            return last
        if last.exists():
            raise TrainingError(
                "this folder holds a run already",
                where=str(self.run_dir),
                remedy="add --resume true to go on with it, give another --run_dir, or remove it",
            )
        return None

    def preflight(self) -> None:
        """Report what CTC cannot align and leave it out."""
        for split in ("train", "dev"):
            report = self.datamodule.preflight(split, self.model.extractor.num_frames)
            print(f"{split}: {report.report()}")
            report.require_any()
        if self.model.extractor.config.normalisation in ("global", "speaker"):
            self._fit_statistics()

    def _fit_statistics(self) -> None:
        splits = ["train", "dev"] if self._normalises_by_speaker() else ["train"]
        loaders = [self.datamodule.plain_dataloader(split) for split in splits]
        self.model.extractor.fit_statistics(
            (batch.waveforms, batch.lengths, batch.speakers)
            for loader in loaders
            for batch in loader
        )

    def _normalises_by_speaker(self) -> bool:
        return self.model.extractor.config.normalisation == "speaker"


class RunConfigCallback(SaveConfigCallback):
    """Saves the configuration to the run folder instead of the logger's."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write ``config.yaml``."""
        path = Path(trainer.default_root_dir) / self.config_filename
        path.parent.mkdir(parents=True, exist_ok=True)
        self.parser.save(self.config, str(path), skip_none=False, overwrite=True, multifile=False)


def _tokens(data_dir: str) -> list[str]:
    """The token list, or none where there is no readable one: that is told after parsing."""
    try:
        return list(Tokenizer.load(tokens_path(Path(data_dir))).tokens)
    except TokenError:
        return []


def _token_kind(data_dir: str) -> str:
    try:
        return Tokenizer.load(tokens_path(Path(data_dir))).kind
    except TokenError:
        return ""


def _print_results(recipe: Recipe, cli: SpeechCLI, seconds: float) -> None:
    checkpoint = cli.trainer.checkpoint_callback
    table = Table("what", "value", title=f"{recipe.title}: training finished")
    weights = sum(p.numel() for p in cli.model.model.parameters())
    table.add_row("cell", cli.model.model.config.network.cell)
    table.add_row("weights", f"{weights:,}")
    table.add_row("epochs", str(cli.trainer.current_epoch))
    table.add_row("wall time", f"{seconds / 60:.1f} min")
    if checkpoint.best_model_score is not None:
        score = float(checkpoint.best_model_score)
        table.add_row(f"best development {recipe.metric.name} (greedy)", f"{100 * score:.2f} %")
        table.add_row("best checkpoint", str(checkpoint.best_model_path))
    Console().print(table)
