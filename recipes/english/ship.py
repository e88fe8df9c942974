"""The command ``ship``: a finished run becomes the bundle that ships, and its card."""

from __future__ import annotations

import os
import shutil
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml

from asr.bundle import Bundle, load_bundle, save_bundle
from asr.bundle.contents import CONFIG, LEXICON, LM_FILES
from asr.cli.recognition import add_decoding, add_language, chosen_options, lm_units
from asr.decoding import BeamOptions
from asr.files.write import replace_folder, write_text
from asr.plots import draw_reliability, save_picture
from asr.types import BundleError, CorpusError
from recipes.common.export import LanguageFiles, best_checkpoint, export
from recipes.common.recipe import Recipe
from recipes.common.record import read_record
from recipes.common.trained_on import chosen_data, trained_utterances
from recipes.english.card import Facts, card
from recipes.english.measure import development_priors, held_out_splits, measure

__all__ = ["MODEL", "TUNED", "Ship"]

CARD, PICTURE, TRAINING = "README.md", "reliability.png", "training.yaml"
MODEL = Path("models", "english")
LANGUAGE = "en-US"
# Chosen on dev-clean-4 and, of what is as good there, on the other corpora's development speakers.
TUNED = BeamOptions(
    beam_width=200,
    token_min_log_prob=-6.0,
    beam_threshold=14.0,
    lm_weight=0.8,
    word_score=-0.2,
    prior_weight=0.6,
)


class Ship:
    """The command and its options."""

    help = "make the model that comes with the toolkit: export, measure, calibrate, describe"

    def add_options(self, part: ArgumentParser) -> None:
        """Add them to the command line."""
        part.add_argument("--run", dest="run_dir", type=Path, help="default: exp/english/run")
        part.add_argument("--checkpoint", type=Path, help="default: the best one of the run")
        part.add_argument(
            "--data",
            type=Path,
            help="prepared folder (default: that of the run, or exp/english/data)",
        )
        part.add_argument(
            "--mean-with",
            metavar="BUNDLE",
            type=Path,
            help="take the mean of the run's weights and those of the model that it began from",
        )
        part.add_argument("--output", type=Path, default=MODEL, help=f"default: {MODEL}")
        add_decoding(part, TUNED.name, usual=TUNED)
        add_language(part)

    def run(self, recipe: Recipe, arguments: Namespace) -> None:
        """Write the folder, in which samples and whatever else is there stay.

        Raises:
            AsrError: see :func:`recipes.common.export.export` and
                :func:`recipes.english.measure.measure`; or the folder is something else, or what is
                held out was trained on.
        """
        run = arguments.run_dir or recipe.paths.run
        data = chosen_data(arguments.data, run, recipe.paths.data)
        _check_place(arguments.output)
        trained = _run_options(run)
        _check_held_out(data, Path(trained["data"]["data_dir"]))
        checkpoint = arguments.checkpoint or best_checkpoint(run)
        lexicon = arguments.lexicon or (data / LEXICON if (data / LEXICON).is_file() else None)
        language = None
        if lexicon or arguments.lm:
            language = LanguageFiles(arguments.lm, lexicon, lm_units(arguments))
        options = chosen_options(arguments, TUNED)
        with TemporaryDirectory() as folder:
            draft = Path(folder, "bundle")
            export(checkpoint, draft, recipe.name, language=language, half=True)
            bundle = load_bundle(draft)
            if arguments.mean_with is not None:
                bundle = _mean(bundle, arguments.mean_with)
            bundle = replace(bundle, decoder=options, priors=development_priors(bundle, data))
            measured = measure(recipe, bundle, data)
            calibrations = {bundle.decoder.name: measured.calibration}
            metadata = {**bundle.metadata, "language": LANGUAGE}
            save_bundle(replace(bundle, calibrations=calibrations, metadata=metadata), draft)
            facts = Facts(
                measured,
                bundle,
                Path(trained["data"]["data_dir"]),
                checkpoint,
                noise=bool((trained["data"].get("augment") or {}).get("noise")),
                machines=list(dict.fromkeys(part["machine"] for part in read_record(run))),
            )
            _assemble(draft, arguments.output, facts, _for_others(trained))
        print(f"{checkpoint} -> {arguments.output}: ECE {measured.ece:.3f}")


def _mean(bundle: Bundle, other: Path) -> Bundle:
    """``bundle`` with the mean of its weights and those of the one in ``other``.

    What further training gains on new speech is kept for the most part, and what it loses on the
    old speech is won back (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").

    Raises:
        BundleError: the other one cannot be read, or has another network or other tokens.
    """
    start = load_bundle(other)
    shapes = [{k: v.shape for k, v in each.model.state_dict().items()} for each in (start, bundle)]
    if shapes[0] != shapes[1] or start.tokenizer.tokens != bundle.tokenizer.tokens:
        raise BundleError(
            "this model has another network or other tokens than the run",
            where=str(other),
            remedy="give the bundle that the run began from",
        )
    weights = start.model.state_dict()
    with torch.no_grad():
        for name, tensor in bundle.model.state_dict().items():
            tensor.copy_(tensor.lerp(weights[name], 0.5).half())  # as the bundle will have them
    return bundle


def _check_held_out(data: Path, trained_on: Path) -> None:
    """Refuse to measure on what the run was trained on.

    Raises:
        CorpusError: a held-out utterance of ``data`` is in the training split of ``trained_on``.
    """
    for name, cuts in held_out_splits(data).items():
        if known := trained_utterances(trained_on, cuts):
            raise CorpusError(
                f"the run was trained on {len(known)} of the {len(cuts)} utterances that are held "
                f"out of {name}, such as {known[0]}",
                where=str(data),
                remedy=f"give the folder that it was trained on: --data {trained_on}",
            )


def _check_place(output: Path) -> None:
    """Raise BundleError unless ``output`` is new, or a model with or without its samples."""
    if output.exists() and not ((output / CONFIG).is_file() or (output / "samples").is_dir()):
        raise BundleError(
            "something other than a model stands there",
            where=str(output),
            remedy="choose another place, or remove it yourself",
        )


def _assemble(bundle: Path, output: Path, facts: Facts, options: str) -> None:
    """Replace ``output`` by the bundle with its card, and what else stood there.

    Raises:
        BundleError: the disk refuses.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder(output) as draft:
            if output.exists():
                shutil.copytree(output, draft, dirs_exist_ok=True)
            for old in (*LM_FILES, LEXICON):
                (draft / old).unlink(missing_ok=True)
            shutil.copytree(bundle, draft, dirs_exist_ok=True)
            bins = {"as found": facts.measured.before, "calibrated": facts.measured.after}
            save_picture(draw_reliability(bins), draft / PICTURE)
            write_text(draft / TRAINING, options)
            write_text(draft / CARD, card(facts, _size(draft)))
    except OSError as error:
        raise BundleError(
            f"cannot write: {error.strerror or error}",
            where=str(output),
            remedy="check the folder and the space left",
        ) from None


def _size(folder: Path) -> int:
    """Bytes of all that the bundle has, without its samples and its card."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _run_options(run: Path) -> dict[str, Any]:
    """All options of a run.

    Raises:
        CorpusError: the run has no such file.
    """
    path = run / "config.yaml"
    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
        options["data"]["data_dir"]
    except (OSError, yaml.YAMLError, LookupError, TypeError):
        raise CorpusError(
            "the options of the run cannot be read",
            where=str(path),
            remedy="give the folder that `fit` wrote",
        ) from None
    return options


def _for_others(options: dict[str, Any]) -> str:
    """The options of a run for ``fit --config``, without the places of the machine it ran on."""
    data = {name: value for name, value in options["data"].items() if name != "data_dir"}
    kept = {name: value for name, value in options.items() if name != "run_dir"}
    return yaml.safe_dump(_without_folders({**kept, "data": data}), sort_keys=False)


def _without_folders(value: Any) -> Any:
    """``value`` with the last part of every path in it alone."""
    if isinstance(value, dict):
        return {key: _without_folders(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_folders(each) for each in value]
    return Path(value).name if isinstance(value, str) and os.sep in value else value
