"""Training by LightningCLI: a recipe's YAML, overridden on the command line."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from argparse import SUPPRESS
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from jsonargparse import ArgumentError
from pytorch_lightning.callbacks import LearningRateMonitor, ProgressBar
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich.console import Console
from rich.table import Table

from asr.tokens import Tokenizer
from asr.types import ConfigError, TokenError
from recipes.common.callbacks import (
    MovingAverage,
    OptimizerOptions,
    Patience,
    SeedEachStep,
    StopAtLastStep,
)
from recipes.common.checkpoints import CheckpointWriter, RunCheckpoint, RunConfig
from recipes.common.corpus import split_note
from recipes.common.data import SpeechDataModule, tokens_path
from recipes.common.module import SpeechModule
from recipes.common.progress import EpochBar, EpochLines
from recipes.common.recipe import Recipe
from recipes.common.renamed import with_new_names, with_new_names_in
from recipes.common.resume import checkpoint_to_resume, is_finished, require_same_model
from recipes.common.trainer_options import (
    DEFAULTS,
    REFUSED,
    check_batches,
    check_options,
    make_profiler,
    one_line,
)

__all__ = ["fit"]

MONITOR = "dev/error_rate"


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
    ):
        warnings.filterwarnings("ignore", message)


class SpeechCLI(LightningCLI):
    """Wires tokens and sample rate from the data to the model, and the run's folder.

    ``checkpoint`` is the one to go on from, or none.
    """

    def __init__(self, recipe: Recipe, argv: list[str]) -> None:
        self.recipe = recipe
        self.checkpoint: Path | None = None
        super().__init__(
            SpeechModule,
            SpeechDataModule,
            args=with_new_names(argv),
            run=False,
            trainer_defaults=DEFAULTS,
            save_config_callback=None,  # ours waits for a checkpoint
            parser_kwargs={
                "prog": f"python -m recipes.{recipe.name} fit",
                "default_config_files": [str(recipe.config)],
                "exit_on_error": False,
            },
        )

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the seed; a number, so that the run can be repeated."""
        parser.add_argument("--seed_everything", type=int, default=0, help="of all chance")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run folder, resumption and early stopping."""
        parser.add_argument("--run_dir", type=str, default=str(self.recipe.paths.run))
        parser.add_argument(
            "--resume",
            type=bool,
            default=False,
            help="go on from last.ckpt with the run's own config.yaml",
        )
        parser.add_argument(
            "--patience", type=int, default=20, help="epochs without a better error rate"
        )
        parser.add_argument(
            "--ema",
            type=float,
            default=0.0,
            help="decay of a moving average of the weights, 0.999 for example; 0 for none",
        )
        parser.set_defaults({"data.data_dir": str(self.recipe.paths.data.absolute())})
        parser.link_arguments("data.data_dir", "model.tokens", compute_fn=_tokens)
        parser.link_arguments("data.data_dir", "model.token_kind", compute_fn=_token_kind)
        parser.link_arguments("model.features.sample_rate", "data.sample_rate")
        parser.link_arguments("seed_everything", "data.seed")
        for action in parser._actions:
            if action.dest.removeprefix("trainer.") in REFUSED:
                action.help = SUPPRESS

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse; to go on with a run, its own configuration stands in for the recipe's.

        Raises:
            ConfigError: an option is unknown or has no such value.
            TrainingError: nothing to resume, or a run is in the way.
        """
        try:
            super().parse_arguments(parser, args)
            run_dir, resume = Path(self.config["run_dir"]), self.config["resume"]
            self.checkpoint = checkpoint_to_resume(run_dir, resume=resume)
            if self.checkpoint is not None and (run_dir / "config.yaml").is_file():
                with with_new_names_in(run_dir / "config.yaml") as config:
                    parser.default_config_files = [str(config)]
                    super().parse_arguments(parser, args)
                    self._require_same_optimizer(parser)
                self.config["run_dir"], self.config["resume"] = str(run_dir), resume
        except (ArgumentError, UnicodeDecodeError) as error:
            raise ConfigError(one_line(error), remedy="see `fit --help`") from None

    def _require_same_optimizer(self, parser: LightningArgumentParser) -> None:
        own = parser.parse_args([])
        for name in ("optimizer", "lr_scheduler"):
            if self.config.get(name) != own.get(name):
                raise ConfigError(
                    f"--{name} is not the run's own", remedy="leave it out, or start a new run"
                )

    def before_instantiate_classes(self) -> None:
        """Refuse data that is not prepared, and options that cannot work."""
        Tokenizer.load(tokens_path(Path(self.config["data"]["data_dir"])))
        check_options(self.config["trainer"])
        if self.config["patience"] < 1:
            raise ConfigError(f"patience is {self.config['patience']}", remedy="give 1 or more")
        if self.config.get("lr_scheduler") and not self.config.get("optimizer"):
            raise ConfigError("--lr_scheduler without --optimizer", remedy="give both or none")

    @property
    def run_dir(self) -> Path:
        """Where checkpoints and logs of this run go."""
        return Path(self.config["run_dir"])

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Add progress, logging, best and last checkpoints, and early stopping.

        Raises:
            TrainingError: the checkpoint to go on from does not fit the options.
            ConfigError: Lightning refuses an option.
        """
        if self.checkpoint is not None:
            require_same_model(self.checkpoint, self.model)
        options = {**self.config_init["trainer"], **kwargs}
        if options["enable_progress_bar"] is None:
            options["enable_progress_bar"] = sys.stdout.isatty()
        if options["logger"] in (None, True):
            options["logger"] = TensorBoardLogger(self.run_dir, name="tensorboard", version="")
        config = RunConfig(
            self.run_dir / "config.yaml", self._config_text(), resumed=self.checkpoint is not None
        )
        options["profiler"] = make_profiler(options["profiler"], self.run_dir)
        options["default_root_dir"] = self.run_dir
        options["enable_checkpointing"] = None
        options["use_distributed_sampler"] = False  # ours shares out the data itself
        options["plugins"] = [CheckpointWriter(config.write)]
        options["callbacks"] = [*self._callbacks(options), config, *_given(options["callbacks"])]
        try:
            return self.trainer_class(**options)
        except (
            MisconfigurationException,
            ImportError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            raise ConfigError(one_line(error), remedy="mend the --trainer options") from None

    def _callbacks(self, options: dict[str, Any]) -> list[pl.Callback]:
        metric = self.recipe.metric.name
        where: dict[str, Any] = {
            "dirpath": self.run_dir / "checkpoints",
            "enable_version_counter": False,
        }
        callbacks: list[pl.Callback] = [
            RunCheckpoint(filename="best", monitor=MONITOR, mode="min", **where),
            # Apart from the best, since `save_last` writes only when the best does.
            RunCheckpoint(filename="last", save_on_train_epoch_end=True, **where),
            Patience(MONITOR, patience=self.config["patience"], mode="min"),
            StopAtLastStep(),
            OptimizerOptions(),
            SeedEachStep(self.datamodule.seed),
            EpochLines(metric, MONITOR),
        ]
        if self.config["ema"]:
            callbacks.append(MovingAverage(self.config["ema"]))
        if options["logger"]:
            callbacks.append(LearningRateMonitor("step"))
        others = any(isinstance(given, ProgressBar) for given in _given(options["callbacks"]))
        if options["enable_progress_bar"] and not others:
            callbacks.append(EpochBar(metric))
        return callbacks

    def _config_text(self) -> str:
        """The configuration as ``config.yaml`` keeps it."""
        config = self.config.clone()
        config["resume"] = False
        return self.parser.dump(config, skip_none=False)

    def preflight(self) -> None:
        """Report what CTC cannot align and leave it out; check what depends on the data.

        Raises:
            AlignmentError: nothing is left to train on.
            ConfigError: a limit of batches leaves none.
        """
        self.datamodule.trainer = self.trainer  # which knows how many processes share the data
        for split in ("train", "dev"):
            report = self.datamodule.preflight(split, self.model.num_frames)
            _say(f"{split}: {report.report()}")
            report.require_any()
        loaders = self.datamodule.train_dataloader(), self.datamodule.val_dataloader()
        check_batches(self.config["trainer"], *map(len, loaders))
        ends = self.config["trainer"]["max_epochs"], self.config["trainer"]["max_steps"]
        if self.checkpoint is not None and is_finished(self.checkpoint, *ends):
            _say("this run is finished: give more --trainer.max_epochs or max_steps to go on")
        elif self._has_to_fit_statistics():
            self._fit_statistics()

    def _has_to_fit_statistics(self) -> bool:
        """Those of the corpus are in a checkpoint, those of speakers are not."""
        kind = self.model.extractor.config.normalisation
        return kind == "speaker" or (kind == "global" and self.checkpoint is None)

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


@rank_zero_only
def _say(text: str) -> None:
    """Print, in the first of the processes alone."""
    print(text)


def _given(callbacks: Any) -> list[pl.Callback]:
    """The callbacks of the configuration: none, one or several."""
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


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
