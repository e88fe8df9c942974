"""Options of a training run beside Lightning's trainer, the data and the module."""

from __future__ import annotations

from dataclasses import dataclass

from asr.types import ConfigError
from recipes.common.averaging import AverageOptions
from recipes.common.monitor import MonitorName

__all__ = ["FIXED", "RunOptions"]

# Options that a run keeps from its beginning.
FIXED = ("optimizer", "lr_scheduler", "init", "new_statistics", "monitor")


@dataclass(frozen=True)
class RunOptions:
    """How a run begins, what is kept of it, and when it ends.

    Attributes:
        run_dir: folder of the run.
        resume: go on from last.ckpt with the run's own config.yaml.
        init: begin from a bundle, a checkpoint, a run, or ``best`` of this recipe's own run.
        freeze: train all but so many lowest layers, or all but the weights named.
        new_statistics: with ``init``, take CMVN statistics from the data instead of the model.
        checkpoint_steps: write last.ckpt each so many steps too, not only after each epoch.
        checkpoint_minutes: likewise, by time.
        monitor: the development value that chooses the best checkpoint and ends the training.
        patience: development passes without a better value before the end.
        average: average the last or the best checkpoints in the end: ``last:5`` or ``best:5``.
        examples: write so many training utterances, as training hears them, to the run's folder.
        ema: decay of a moving average of the weights, 0.999 for example; 0 for none.
    """

    run_dir: str = "exp/run"
    resume: bool = False
    init: str | None = None
    freeze: int | list[str] = 0
    new_statistics: bool = False
    checkpoint_steps: int = 0
    checkpoint_minutes: float = 0.0
    monitor: MonitorName = "error_rate"
    patience: int = 20
    average: str | None = None
    examples: int = 0
    ema: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ConfigError(f"patience is {self.patience}", remedy="give 1 or more")
        for name in ("checkpoint_steps", "checkpoint_minutes", "examples"):
            if not getattr(self, name) >= 0:
                raise ConfigError(
                    f"--{name} is {getattr(self, name)}", remedy="give 0 for none, or more"
                )
        if self.new_statistics and self.init is None:
            raise ConfigError(
                "--new_statistics without --init", remedy="leave it out: they are new anyway"
            )
        if self.to_average is not None and self.ema:
            raise ConfigError("--average with --ema", remedy="choose one of them")

    @property
    def to_average(self) -> AverageOptions | None:
        """``average``, read."""
        return None if self.average is None else AverageOptions.parse(self.average)
