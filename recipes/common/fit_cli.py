"""The command line of ``fit``: options, and how they become a module, data and a trainer."""

from __future__ import annotations

import math
import sys
from argparse import SUPPRESS
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from jsonargparse import ArgumentError
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.types import LRSchedulerTypeUnion
from torch.optim import Optimizer

from asr.files.write import check_target
from asr.tokens import Tokenizer
from asr.types import AsrError, ConfigError, TokenError
from recipes.common.checkpoints import CheckpointWriter, RunConfig
from recipes.common.data import SpeechDataModule, tokens_path
from recipes.common.fit_callbacks import (
    checkpoint_callbacks,
    display_callbacks,
    given_callbacks,
    step_callbacks,
)
from recipes.common.listen import write_examples
from recipes.common.lock import holding
from recipes.common.module import SpeechModule
from recipes.common.monitor import Monitor
from recipes.common.recipe import Recipe
from recipes.common.record import RunRecord
from recipes.common.renamed import config_files, with_new_names, with_new_names_in
from recipes.common.resume import checkpoint_to_resume, is_finished, require_same_model
from recipes.common.run_options import FIXED, RunOptions
from recipes.common.start import Start, freeze, is_begun_from, read_start
from recipes.common.trainer_options import (
    DEFAULTS,
    REFUSED,
    check_batches,
    check_options,
    make_profiler,
    one_line,
    total_steps,
)
from recipes.common.unknown import check_names

__all__ = ["SpeechCLI"]

MAX_SEED = 2**32 - 1  # NumPy's
SEED_HOURS = 1.0  # of audio, for statistics that a stream begins with


class SpeechCLI(LightningCLI):
    """Wires tokens and sample rate from the data to the model, and the run's folder.

    ``checkpoint`` is the one to go on from, ``start`` the model to begin from; both may be none.
    With ``held``, the folder is kept from other trainings until that is closed.
    """

    def __init__(self, recipe: Recipe, argv: list[str], held: ExitStack | None = None) -> None:
        self.recipe = recipe
        self.argv = argv
        self.held = held
        self.checkpoint: Path | None = None
        self.start: Start | None = None
        with with_new_names_in(recipe.config) as config:
            super().__init__(
                SpeechModule,
                SpeechDataModule,
                args=with_new_names(argv),
                run=False,
                trainer_defaults=DEFAULTS,
                save_config_callback=None,  # ours waits for a checkpoint
                parser_kwargs={
                    "prog": f"python -m recipes.{recipe.name} fit",
                    "default_config_files": [str(config)],
                    "exit_on_error": False,
                },
            )

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the seed; a number, so that the run can be repeated."""
        parser.add_argument("--seed_everything", type=int, default=0, help="of all chance")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of the run, and fill in what follows from others."""
        parser.add_class_arguments(RunOptions, None, instantiate=False)
        parser.set_defaults({"run_dir": str(self.recipe.paths.run)})
        parser.set_defaults({"data.data_dir": str(self.recipe.paths.data.absolute())})
        parser.link_arguments("data.data_dir", "model.tokens", compute_fn=_tokens)
        parser.link_arguments("data.data_dir", "model.token_kind", compute_fn=_token_kind)
        parser.link_arguments("data.data_dir", "model.token_scores", compute_fn=_token_scores)
        parser.link_arguments("model.features.sample_rate", "data.sample_rate")
        parser.link_arguments("seed_everything", "data.seed")
        for action in parser._actions:
            if action.dest.removeprefix("trainer.") in REFUSED:
                action.help = SUPPRESS

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse; to go on with a run, its own configuration stands in for the recipe's.

        Raises:
            ConfigError: an option is unknown or has no such value, or a file of options would be
                written over.
            TrainingError: nothing to resume, or a run is in the way, or at work.
        """
        try:
            super().parse_arguments(parser, args)
            if not 0 <= self.config["seed_everything"] <= MAX_SEED:
                raise ConfigError(
                    f"--seed_everything is {self.config['seed_everything']}",
                    remedy=f"give a number from 0 to {MAX_SEED}",
                )
            run_dir, resume = Path(self.config["run_dir"]), self.config["resume"]
            if self.held is not None:
                self.held.enter_context(holding(run_dir))
            self.checkpoint = checkpoint_to_resume(run_dir, resume=resume)
            if self.checkpoint is not None:
                self._parse_to_resume(parser, args)
            else:
                check_target(run_dir / "config.yaml", config_files(self.argv))
                if self.config["init"] is not None:
                    self._parse_to_begin_from(self.config["init"], parser, args)
            check_names(args, self.config)
        except (ArgumentError, UnicodeDecodeError) as error:
            raise ConfigError(one_line(error), remedy="see `fit --help`") from None

    def _parse_to_resume(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse again, with the run's own configuration in the place of the recipe's."""
        run_dir, resume = Path(self.config["run_dir"]), self.config["resume"]
        if not (run_dir / "config.yaml").is_file():
            return
        with with_new_names_in(run_dir / "config.yaml") as config:
            parser.default_config_files = [str(config)]
            super().parse_arguments(parser, args)
            own = parser.parse_args([])
            init, begun = self.config["init"], own["init"]
            if init and begun and is_begun_from(init, begun, self.recipe.paths.run):
                self.config["init"] = begun
            for name in FIXED:
                if self.config.get(name) != own.get(name):
                    raise ConfigError(
                        f"--{name} is not the run's own", remedy="leave it out, or start a new run"
                    )
        self.config["run_dir"], self.config["resume"] = str(run_dir), resume

    def _parse_to_begin_from(
        self, init: str, parser: LightningArgumentParser, args: ArgsType
    ) -> None:
        """Parse again, with front end and network of the model to begin from."""
        self.start = read_start(init, self.recipe.paths.run)
        with self.start.defaults() as config:
            parser.default_config_files = [*parser.default_config_files, str(config)]
            super().parse_arguments(parser, args)
        self.config["init"] = str(self.start.path)

    def before_instantiate_classes(self) -> None:
        """Refuse data that is not prepared, and options that cannot work."""
        Tokenizer.load(tokens_path(Path(self.config["data"]["data_dir"])))
        check_options(self.config["trainer"])
        if self.config.get("lr_scheduler") and not self.config.get("optimizer"):
            raise ConfigError("--lr_scheduler without --optimizer", remedy="give both or none")
        self.options = RunOptions(**{f.name: self.config[f.name] for f in fields(RunOptions)})

    @staticmethod
    def configure_optimizers(
        lightning_module: pl.LightningModule,
        optimizer: Optimizer,
        lr_scheduler: LRSchedulerTypeUnion | None = None,
    ) -> Any:
        """An ``--optimizer`` without ``--lr_scheduler`` follows the module's own schedule."""
        if lr_scheduler is None:
            return lightning_module.with_schedule(optimizer)
        return LightningCLI.configure_optimizers(lightning_module, optimizer, lr_scheduler)

    @property
    def monitor(self) -> Monitor:
        """The development value that chooses the best checkpoint."""
        metric = self.recipe.metric_of(self.model.tokenizer.kind)
        return Monitor(self.options.monitor, metric.name)

    def instantiate_classes(self) -> None:
        """Make model, data and trainer of the configuration.

        Raises:
            AsrError: an option cannot be; the parser would wrap it in its own words.
        """
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise _refusal(error) or error from None

    @property
    def run_dir(self) -> Path:
        """Where checkpoints and logs of this run go."""
        return Path(self.options.run_dir)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Add progress, logging, best and last checkpoints, and early stopping.

        Raises:
            TrainingError: the checkpoint to go on from does not fit the options.
            ConfigError: Lightning refuses an option.
        """
        self._ready_weights()
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
        command = ["python", "-m", f"recipes.{self.recipe.name}", "fit", *self.argv]
        ours = [*self._callbacks(options), config, RunRecord(self.run_dir, command)]
        options["callbacks"] = [*ours, *given_callbacks(options)]
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

    def _ready_weights(self) -> None:
        """Take over the weights to begin from, and freeze what is not to be trained."""
        said = None
        if self.checkpoint is not None:
            require_same_model(self.checkpoint, self.model)
        elif self.start is not None:
            said = self.start.put_into(self.model)
        for line in (said, freeze(self.model.model, self.options.freeze)):
            if line is not None:
                _say(line)

    def _callbacks(self, options: dict[str, Any]) -> list[pl.Callback]:
        return [
            *checkpoint_callbacks(self.options, self.run_dir, self.monitor),
            *step_callbacks(self.options, self.model.schedule, self.datamodule.seed, self.monitor),
            *display_callbacks(options, self.run_dir, self.monitor),
        ]

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
        if self.options.examples and self.trainer.is_global_zero:
            folder = self.run_dir / "examples"
            rate = self.datamodule.sample_rate
            written = write_examples(folder, loaders[0], self.options.examples, rate)
            _say(f"{len(written)} training utterances, as they are heard, are in {folder}")
        self.model.total_steps = total_steps(self.config["trainer"], len(loaders[0]))
        ends = self.config["trainer"]["max_epochs"], self.config["trainer"]["max_steps"]
        if self.checkpoint is not None and is_finished(self.checkpoint, *ends):
            _say("this run is finished: give more --trainer.max_epochs or max_steps to go on")
        elif self._has_to_fit_statistics():
            self._fit_statistics()

    def _has_to_fit_statistics(self) -> bool:
        """Those of the corpus are in a checkpoint or a bundle, those of speakers are not."""
        kind = self.model.extractor.config.normalisation
        if kind == "none" or (kind != "speaker" and self.checkpoint is not None):
            return False
        if kind == "speaker":
            return True
        kept = self.start is not None and self.start.keeps_statistics(self.model)
        return self.options.new_statistics or not kept

    def _fit_statistics(self) -> None:
        splits = ["train", "dev"] if self._normalises_by_speaker() else ["train"]
        kind = self.model.extractor.config.normalisation
        hours = SEED_HOURS if kind == "utterance" else math.inf  # there only a stream needs them
        loaders = [self.datamodule.plain_dataloader(split, hours) for split in splits]
        self.model.extractor.fit_statistics(
            (batch.waveforms, batch.lengths, batch.speakers)
            for loader in loaders
            for batch in loader
        )

    def _normalises_by_speaker(self) -> bool:
        return self.model.extractor.config.normalisation == "speaker"


def _refusal(error: BaseException) -> AsrError | None:
    """What ``error`` was first raised as, if that was ours."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, AsrError):
        cause = cause.__cause__
    return cause


@rank_zero_only
def _say(text: str) -> None:
    """Print, in the first of the processes alone."""
    print(text)


def _tokens(data_dir: str) -> list[str]:
    """The token list, or none where there is no readable one: that is told after parsing."""
    tokenizer = _tokenizer(data_dir)
    return list(tokenizer.tokens) if tokenizer else []


def _token_kind(data_dir: str) -> str:
    tokenizer = _tokenizer(data_dir)
    return tokenizer.kind if tokenizer else ""


def _token_scores(data_dir: str) -> list[float]:
    tokenizer = _tokenizer(data_dir)
    return list(tokenizer.scores) if tokenizer else []


def _tokenizer(data_dir: str) -> Tokenizer | None:
    try:
        return Tokenizer.load(tokens_path(Path(data_dir)))
    except TokenError:
        return None
