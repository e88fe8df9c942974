"""Which result of a run is of the model that the run has now."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr.types import ConfigError
from recipes.common.compare import options_of
from recipes.common.export import CHECKPOINTS, progress_of, read_checkpoint

__all__ = ["result_in"]

OF_THE_MODEL = ("model", "metadata")  # the options of a result that another checkpoint changes


def result_in(run: Path, name: str) -> Path:
    """The rows of the result called ``name`` in ``results/`` of ``run``.

    Where that one is of a checkpoint which the run has replaced since, the evaluation of the
    present one by the same options is taken: it has a number behind its name.

    Raises:
        ConfigError: there is no such result, or none of the present checkpoint.
        TrainingError: the checkpoint is damaged.
    """
    rows = run / "results" / f"{name}.jsonl"
    if not rows.is_file():
        there = sorted(path.stem for path in rows.parent.glob("*.jsonl"))
        raise ConfigError(
            "there is no such result",
            where=str(rows),
            remedy=f"choose of {', '.join(there)} by --result" if there else "run `evaluate` first",
        )
    if _is_present(run, rows):
        return rows
    present = [path for path in _numbered(rows) if _is_present(run, path)]
    again = [path for path in present if _how(path) == _how(rows)]
    if not again:
        names = ", ".join(path.stem for path in present)
        raise ConfigError(
            "evaluated before the run went on",
            where=str(rows),
            remedy="evaluate again" + (f", or choose {names} by --result" if names else ""),
        )
    return again[-1]


def _numbered(rows: Path) -> list[Path]:
    """The results whose name is that of ``rows`` and a number, by number."""
    form = re.compile(re.escape(rows.stem) + r"-(\d+)\.jsonl")
    found = {int(m[1]): path for path in rows.parent.iterdir() if (m := form.fullmatch(path.name))}
    return [path for _, path in sorted(found.items())]


def _is_present(run: Path, rows: Path) -> bool:
    """Whether a result is of a checkpoint as it is now; also where nothing tells otherwise."""
    options = options_of(rows)
    told = options.get("metadata")
    checkpoint = run / CHECKPOINTS / Path(str(options.get("model"))).name
    if not isinstance(told, Mapping) or not checkpoint.is_file():
        return True
    now = progress_of(read_checkpoint(checkpoint))
    return all(told.get(name, value) == value for name, value in now.items())


def _how(rows: Path) -> dict[str, Any]:
    """The options of a result beside those of its model."""
    return {name: value for name, value in options_of(rows).items() if name not in OF_THE_MODEL}
