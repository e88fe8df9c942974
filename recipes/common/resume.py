"""Going on with a run: what its checkpoint says, and whether the options agree with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr.features import FeatureConfig
from asr.nn.model import AcousticModelConfig
from asr.types import AsrError, TrainingError
from recipes.common.export import read_checkpoint, tokenizer_of
from recipes.common.module import CHECKPOINT_KEY, SpeechModule

__all__ = ["FREE", "checkpoint_to_resume", "differences", "is_finished", "require_same_model"]

# What may change between two parts of a run, since no weight depends on it.
FREE = ("dropout", "input_noise", "weight_noise", "kernel", "recompute")


def checkpoint_to_resume(run_dir: Path, *, resume: bool) -> Path | None:
    """Return the run's last checkpoint when asked to resume.

    A run that was ended within its first epoch may have the best one alone.

    Raises:
        TrainingError: nothing to resume, or a finished or interrupted run is in the way.
    """
    folder = run_dir / "checkpoints"
    there = [path for name in ("last.ckpt", "best.ckpt") if (path := folder / name).is_file()]
    if resume:
        if not there:
            raise TrainingError(
                "nothing to resume", where=str(folder / "last.ckpt"), remedy="leave out --resume"
            )
        return there[0]
    if any(folder.glob("*.ckpt")):
        go_on = "add --resume true to go on with it, " if there else ""
        raise TrainingError(
            "this folder holds a run already",
            where=str(run_dir),
            remedy=f"{go_on}give another --run_dir, or remove it",
        )
    return None


def require_same_model(checkpoint: Path, module: SpeechModule) -> None:
    """Raise unless the checkpoint's weights fit the options' model, tokens and front end.

    Raises:
        TrainingError: they do not, or the checkpoint is damaged.
    """
    saved = read_checkpoint(checkpoint)[CHECKPOINT_KEY]
    before, now = tokenizer_of(saved), module.tokenizer
    if (before.kind, before.tokens, before.scores) != (now.kind, now.tokens, now.scores):
        raise TrainingError(
            f"the run was trained with {before.size} tokens that are not the "
            f"{now.size} of the data",
            where=str(checkpoint),
            remedy="give the data it was trained on with --data.data_dir, or start a new run",
        )
    try:
        features = FeatureConfig.from_dict(saved["features"]).to_dict()
        model = AcousticModelConfig.from_dict(saved["model"]).to_dict()
    except AsrError as error:
        raise TrainingError(error.what, where=str(checkpoint), remedy=error.remedy) from None
    pairs = [
        *differences(features, module.extractor.config.to_dict()),
        *differences(model, module.model.config.to_dict()),
    ]
    if pairs:
        raise TrainingError(
            "the run was trained with other options: "
            + ", ".join(f"{name} {before}, now {now}" for name, before, now in pairs),
            where=str(checkpoint),
            remedy="leave them out to go on with the run, or start a new one in another --run_dir",
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Options that weights depend on and that are not the same: their names and both values."""
    names = sorted({*before, *now} - set(FREE))
    return [
        (name, before.get(name), now.get(name))
        for name in names
        if before.get(name) != now.get(name)
    ]


def is_finished(checkpoint: Path, max_epochs: int | None, max_steps: int) -> bool:
    """Whether the run has reached the end that the options ask for.

    Raises:
        TrainingError: it has gone beyond.
    """
    saved = read_checkpoint(checkpoint)
    done = {"max_epochs": _whole_epochs(saved), "max_steps": int(saved["global_step"])}
    ends = {"max_epochs": max_epochs or -1, "max_steps": max_steps}
    for name, end in ends.items():
        if 0 < end < done[name]:
            raise TrainingError(
                f"the run has {done[name]} {name.removeprefix('max_')} behind it, "
                f"and --trainer.{name} is {end}",
                where=str(checkpoint),
                remedy=f"give more than {done[name]}",
            )
    return any(end == done[name] for name, end in ends.items())


def _whole_epochs(saved: Mapping[str, Any]) -> int:
    """Epochs that are over, where a checkpoint within one counts it as its own."""
    try:
        return int(saved["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except KeyError:
        return int(saved["epoch"]) + 1
