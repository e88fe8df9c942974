"""From a training checkpoint to a model bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from asr.bundle import Bundle, save_bundle
from asr.decoding import DecoderConfig
from asr.features import FeatureConfig, FeatureExtractor
from asr.nn.model import AcousticModel, AcousticModelConfig
from asr.tokens import Tokenizer
from asr.types import TrainingError
from recipes.common.module import CHECKPOINT_KEY

__all__ = ["best_checkpoint", "bundle_from_checkpoint", "export"]


def best_checkpoint(run: Path) -> Path:
    """Return the best checkpoint of a run folder.

    Raises:
        TrainingError: the run has none yet.
    """
    path = run / "checkpoints" / "best.ckpt"
    if not path.is_file():
        raise TrainingError(
            "no trained model here", where=str(run), remedy="run the recipe's `fit` first"
        )
    return path


def bundle_from_checkpoint(path: Path, name: str) -> Bundle:
    """Build the bundle that a checkpoint describes; tensors alone are read, never code.

    Raises:
        TrainingError: the file is missing, damaged or not a checkpoint of these recipes.
    """
    checkpoint = _load(path)
    plain = checkpoint[CHECKPOINT_KEY]
    extractor = FeatureExtractor(FeatureConfig.from_dict(plain["features"]))
    model = AcousticModel(AcousticModelConfig.from_dict(plain["model"]))
    state = checkpoint["state_dict"]
    extractor.load_state_dict(_part(state, "extractor."))
    model.load_state_dict(_part(state, "model."))
    return Bundle(
        extractor=extractor,
        model=model.eval(),
        tokenizer=Tokenizer(plain["tokens"], plain["token_kind"]),
        decoder=DecoderConfig(name="greedy"),
        name=name,
        facts={
            "recipe": name,
            "epochs": int(checkpoint["epoch"]) + 1,
            "steps": int(checkpoint["global_step"]),
        },
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError("no such checkpoint", where=str(path)) from None
    except Exception:  # on rubbish, torch's reader fails in whatever way the bytes lead it to
        raise TrainingError(
            "not a readable checkpoint", where=str(path), remedy="train again or choose another"
        ) from None
    if not isinstance(checkpoint, dict) or CHECKPOINT_KEY not in checkpoint:
        raise TrainingError(
            "not a checkpoint of these recipes",
            where=str(path),
            remedy="choose one written by `fit`",
        )
    return checkpoint


def _part(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def export(checkpoint: Path, output: Path, name: str) -> None:
    """Write the checkpoint's model as a bundle at ``output``."""
    save_bundle(bundle_from_checkpoint(checkpoint, name), output)
