"""Lightning's trainer options: which of them a recipe takes, and within which bounds.

Every option either does what Lightning says of it or is refused in one line. None is accepted and
then ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from asr.types import ConfigError

__all__ = [
    "DEFAULTS",
    "REFUSED",
    "check_batches",
    "check_options",
    "make_profiler",
    "one_line",
    "total_steps",
]

DEFAULTS: dict[str, Any] = {
    "num_sanity_val_steps": 0,  # the pre-flight has checked the development set
}

# Options that may stand at their default only, with what to do instead.
REFUSED: dict[str, tuple[Any, str]] = {
    "default_root_dir": (None, "name the run's folder with --run_dir"),
    "enable_checkpointing": (None, "try a run without keeping it by --trainer.fast_dev_run true"),
    "use_distributed_sampler": (True, "leave it out: processes always share the data"),
    "overfit_batches": (0.0, "use --trainer.limit_train_batches, or prepare a small corpus"),
    "barebones": (False, "leave it out: a run without checkpoints and logs leaves nothing"),
    "plugins": (None, "leave it out: the recipe writes checkpoints itself"),
    "model_registry": (None, "leave it out: checkpoints are files in the run's folder"),
    "limit_test_batches": (None, "test a model with `evaluate`"),
    "limit_predict_batches": (None, "transcribe with `evaluate` or `asr transcribe`"),
}

PRECISIONS = ("32-true", "32", 32, "16-mixed", "16", 16, "bf16-mixed", "bf16")
STRATEGIES = ("auto", "ddp")
PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}

Rule = tuple[Callable[[Any], bool], str]

AT_LEAST_0: Rule = (lambda value: value >= 0, "give 0 or more")
AT_LEAST_1: Rule = (lambda value: value >= 1, "give 1 or more")
SHARE: Rule = (
    lambda value: 0.0 < value <= 1.0 or (1 <= value < math.inf and value == int(value)),
    "give a number of batches, or a fraction of them above 0.0 and up to 1.0",
)
RULES: dict[str, Rule] = {
    "max_epochs": (lambda value: value == -1 or value >= 1, "give 1 or more, or -1 for no end"),
    "max_steps": (lambda value: value == -1 or value >= 1, "give 1 or more, or -1 for no end"),
    "min_epochs": AT_LEAST_0,
    "min_steps": AT_LEAST_0,
    "num_nodes": AT_LEAST_1,
    "fast_dev_run": AT_LEAST_0,
    "limit_train_batches": SHARE,
    "limit_val_batches": SHARE,
    "val_check_interval": (
        lambda value: isinstance(value, (int, float)) and SHARE[0](value),
        SHARE[1],
    ),
    "check_val_every_n_epoch": AT_LEAST_1,
    "num_sanity_val_steps": (lambda value: value >= -1, "give 0 or more, or -1 for all"),
    "log_every_n_steps": AT_LEAST_1,
    "accumulate_grad_batches": AT_LEAST_1,
    "gradient_clip_val": (lambda value: 0.0 <= value < math.inf, "give 0 or more"),
    "reload_dataloaders_every_n_epochs": AT_LEAST_0,
    "precision": (
        lambda value: value in PRECISIONS,
        "choose 32-true, 16-mixed or bf16-mixed: features and CTC are computed in 32 bits",
    ),
    "strategy": (lambda value: value in STRATEGIES, f"choose {' or '.join(STRATEGIES)}"),
    "profiler": (
        lambda value: isinstance(value, Profiler) or value in PROFILERS,
        f"choose {', '.join(PROFILERS)}",
    ),
}


def check_options(options: Mapping[str, Any]) -> None:
    """Raise :class:`ConfigError` for the first option that a recipe cannot honour."""
    for name, (default, remedy) in REFUSED.items():
        # Lightning's own meaning of True is what a recipe does anyway.
        if options[name] != default and not (default is None and options[name] is True):
            raise _error(name, options[name], remedy)
    for name, (holds, remedy) in RULES.items():
        if options[name] is not None and not holds(options[name]):
            raise _error(name, options[name], remedy)
    _check_end(options)
    on_gpu = torch.cuda.is_available() and options["accelerator"] in ("auto", "gpu", "cuda")
    if options["deterministic"] is True and on_gpu:
        raise _error("deterministic", True, "give warn: CTC's gradient on a GPU is not")
    half = str(options["precision"]).startswith("bf16")
    if on_gpu and half and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise _error("precision", options["precision"], "choose 16-mixed: this GPU has no bfloat16")


def _check_end(options: Mapping[str, Any]) -> None:
    """The schedule has to know where training ends, and a best model needs a development pass."""
    epochs, steps = options["max_epochs"], options["max_steps"]
    if epochs in (None, -1) and steps == -1 and not options["fast_dev_run"]:
        raise ConfigError(
            f"--trainer.max_epochs is {_shown(epochs)} and --trainer.max_steps {steps}",
            remedy="give one of them: the learning rate falls towards the end",
        )
    every = options["check_val_every_n_epoch"]
    interval = options["val_check_interval"]
    if every is None and (interval is None or interval != int(interval)):
        raise _error(
            "check_val_every_n_epoch", None, "give --trainer.val_check_interval in batches with it"
        )
    if every is not None and epochs not in (None, -1) and every > epochs:
        raise _error(
            "check_val_every_n_epoch", every, f"give at most --trainer.max_epochs, {epochs}"
        )


def check_batches(options: Mapping[str, Any], train: int, dev: int) -> None:
    """Raise :class:`ConfigError` where a share of the batches is none, or an interval too long."""
    for name, number in (("limit_train_batches", train), ("limit_val_batches", dev)):
        limit = options[name]
        if limit is not None and _batches(limit, number) < 1:
            raise _error(name, limit, f"give at least 1, or {math.ceil(100 / number) / 100}")
    limit, interval = options["limit_train_batches"], options["val_check_interval"]
    within = train if limit is None else min(train, _batches(limit, train))
    each_epoch = options["check_val_every_n_epoch"] is not None
    if each_epoch and isinstance(interval, (int, float)) and _batches(interval, within) > within:
        raise _error(
            "val_check_interval", interval, f"give at most {within}, the batches of an epoch"
        )


def total_steps(options: Mapping[str, Any], batches: int) -> int:
    """Steps of the optimiser in the training, of epochs with so many batches; 0 if unknown."""
    limit, epochs, steps = (
        options[name] for name in ("limit_train_batches", "max_epochs", "max_steps")
    )
    within = batches if limit is None else min(batches, _batches(limit, batches))
    each = math.ceil(within / options["accumulate_grad_batches"])
    ends = [each * epochs] if epochs and epochs > 0 else []
    return min([*ends, *([steps] if steps > 0 else [])], default=0)


def _batches(limit: float, number: int) -> int:
    """Batches that a limit means, of ``number``: a whole number, or a fraction in (0.0, 1.0]."""
    return int(number * limit) if isinstance(limit, float) and limit <= 1.0 else int(limit)


def make_profiler(profiler: Any, folder: Path) -> Any:
    """A profiler that writes its report into ``folder``; one that is made already stays."""
    if not isinstance(profiler, str):
        return profiler
    return PROFILERS[profiler](dirpath=folder, filename="profile")


def one_line(error: BaseException) -> str:
    """What an error of Lightning's says, without its line ends."""
    return " ".join(str(error).split())


def _error(name: str, value: Any, remedy: str) -> ConfigError:
    return ConfigError(f"--trainer.{name} is {_shown(value)}", remedy=remedy)


def _shown(value: Any) -> str:
    """A value as YAML has it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
