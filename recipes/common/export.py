"""From a training checkpoint to a model bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from asr.bundle import Bundle, save_bundle
from asr.bundle.streaming import Streaming
from asr.decoding import DecoderOptions, GreedyOptions, make_decoder
from asr.features import FeatureConfig, FeatureExtractor
from asr.files.write import check_target
from asr.nn.model import AcousticModel, AcousticModelConfig
from asr.tokens import Tokenizer
from asr.types import TrainingError
from recipes.common.module import CHECKPOINT_KEY
from recipes.common.priors import priors_of
from recipes.common.speakers import for_unknown_speakers

__all__ = [
    "LanguageFiles",
    "best_checkpoint",
    "bundle_from_checkpoint",
    "export",
    "progress_of",
    "read_checkpoint",
    "tokenizer_of",
]


CHECKPOINTS = "checkpoints"  # in a run's folder
BEST_CHECKPOINT = Path(CHECKPOINTS, "best.ckpt")  # likewise


def best_checkpoint(run: Path) -> Path:
    """Return the best checkpoint of a run folder.

    Raises:
        TrainingError: the run has none yet.
    """
    path = run / BEST_CHECKPOINT
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
    checkpoint = read_checkpoint(path)
    plain = checkpoint[CHECKPOINT_KEY]
    extractor = FeatureExtractor(FeatureConfig.from_dict(plain["features"]))
    model = AcousticModel(AcousticModelConfig.from_dict(plain["model"]))
    state = checkpoint["state_dict"]
    extractor.load_state_dict(_part(state, "extractor."))
    model.load_state_dict(_part(state, "model."))
    return Bundle(
        extractor=extractor,
        model=model.eval(),
        tokenizer=tokenizer_of(plain),
        decoder=GreedyOptions(),
        name=name,
        metadata={
            "recipe": name,
            **progress_of(checkpoint),
            **({"text": plain["text"]} if "text" in plain else {}),
        },
        streaming=_streaming_of(plain),
        priors=priors_of(plain),
    )


def progress_of(checkpoint: Mapping[str, Any]) -> dict[str, int]:
    """How far a checkpoint's training has gone, as the metadata of its bundle say it."""
    return {"epochs": int(checkpoint["epoch"]) + 1, "steps": int(checkpoint["global_step"])}


def _streaming_of(plain: dict[str, Any]) -> Streaming | None:
    """What the plain values of a checkpoint say of chunks; early ones say nothing."""
    dual_mode = plain.get("dual_mode")
    if not dual_mode or not dual_mode["probability"]:
        return None
    return Streaming(dual_mode["chunk_ms"], dual_mode["look_ahead_ms"])


def tokenizer_of(plain: dict[str, Any]) -> Tokenizer:
    """The tokens that a checkpoint's plain values name; early ones know of no subwords."""
    return Tokenizer(plain["tokens"], plain["token_kind"], plain.get("token_scores"))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of these recipes; tensors alone are read, never code.

    Raises:
        TrainingError: the file is missing, damaged or not a checkpoint of these recipes.
    """
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


@dataclass(frozen=True)
class LanguageFiles:
    """A language model and a lexicon for beam search, as files."""

    lm: Path | None
    lexicon: Path | None
    units: str

    def add_to(self, bundle: Bundle) -> Bundle:
        """``bundle`` with the files' content, and its own in the place of what is not given.

        Raises:
            LanguageModelError: one cannot be read, or does not fit the bundle's tokens.
        """
        # Not above: it brings the compiler, which others do without.
        from asr.decoding.beam.language import Language

        if bundle.language is None:
            language = Language.load(bundle.tokenizer, self.lm, self.lexicon, self.units)
        else:
            language = bundle.language.changed(self.lm, self.lexicon, self.units)
        return replace(bundle, language=language)


def export(
    checkpoint: Path,
    output: Path,
    name: str,
    decoder: DecoderOptions | None = None,
    language: LanguageFiles | None = None,
    *,
    half: bool = False,
) -> None:
    """Write the checkpoint's model as a bundle at ``output``, with its decoder's defaults.

    With ``half`` its weights are kept in 16 bits.

    Raises:
        AsrError: the checkpoint or a file of the language cannot be read or would be replaced, or
            the decoder cannot be made for this model; then nothing is written.
    """
    files = [] if language is None else [language.lm, language.lexicon]
    check_target(output, [checkpoint, *files])
    bundle = for_unknown_speakers(bundle_from_checkpoint(checkpoint, name))
    if language is not None:
        bundle = language.add_to(bundle)
    options = decoder or bundle.decoder
    make_decoder(
        options,
        bundle.tokenizer,
        bundle.seconds_per_frame,
        bundle.language,
        priors=bundle.priors,
    )
    save_bundle(replace(bundle, decoder=options, half=half), output)
