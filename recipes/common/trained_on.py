"""The data that a run was trained on: where they lie, and which utterances are among them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

import yaml
from lhotse.cut import Cut

from recipes.common.data import manifest_path

__all__ = ["chosen_data", "data_of", "run_of", "trained_utterances"]


def run_of(checkpoint: Path | None, run: Path) -> Path:
    """The folder of the run that a checkpoint is from: its own one, where it lies in one."""
    if checkpoint is None:
        return run
    own = checkpoint.absolute().parent.parent
    return own if (own / "config.yaml").is_file() else run


def data_of(run: Path) -> Path | None:
    """The prepared folder that a run was trained on; None where it is not there or not known."""
    try:
        options = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        folder = Path(options["data"]["data_dir"])
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        return None
    return folder if folder.is_dir() else None


def chosen_data(given: Path | None, run: Path, usual: Path) -> Path:
    """The prepared folder that is meant: the one given, that of the run, or the recipe's."""
    if given is not None:
        return given
    found = data_of(run)
    return usual if found is None or found.resolve() == usual.resolve() else found


def trained_utterances(data: Path, cuts: Iterable[Cut]) -> list[str]:
    """The ids of those of ``cuts`` that are in the training split of ``data``, of one length.

    There are none where that split cannot be read.
    """
    path = manifest_path(data, "train")
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip()]
        trained = {(row["id"], round(row["duration"], 2)) for row in rows}
    except (OSError, EOFError, ValueError, LookupError, TypeError):
        return []
    return [cut.id for cut in cuts if (cut.id, round(cut.duration, 2)) in trained]
