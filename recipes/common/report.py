"""``report RUN…``: the same training with several seeds, as a row of a table and a picture."""

from __future__ import annotations

import csv
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.plots import check_picture_path, draw_seeds, save_picture
from asr.types import ConfigError
from recipes.common.export import best_checkpoint, bundle_from_checkpoint
from recipes.common.outcomes import Seeds, by_seed, percent, read_outcome, wall_time
from recipes.common.present import result_in
from recipes.common.recipe import Recipe
from recipes.common.record import read_record

__all__ = ["Report"]

USUAL = "dev.greedy"


class Report:
    """The command."""

    help = "print several runs as one row: mean, spread, interval, weights, time, machine"

    def add_options(self, part: ArgumentParser) -> None:
        """Add its options."""
        part.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders, a seed each")
        part.add_argument(
            "--result",
            default=USUAL,
            metavar="NAME",
            help=f"of `evaluate`, in results/ of each run, without its ending (default: {USUAL})",
        )
        part.add_argument("--label", help="of the row (default: the first run's folder)")
        part.add_argument("--picture", type=Path, metavar="PNG", help="draw the learning curves")

    def run(self, recipe: Recipe, arguments: Namespace) -> None:
        """Print the row; draw the curves.

        Raises:
            ConfigError: a run has no such result of the model that it has now, or two have the
                same seed.
            TrainingError: a run has no checkpoint.
        """
        runs = by_seed(arguments.runs)
        if arguments.picture is not None:
            check_picture_path(arguments.picture)
        seeds = Seeds(
            {
                seed: read_outcome(result_in(run, arguments.result), recipe.metric, recipe.scorings)
                for seed, run in runs.items()
            }
        )
        label = arguments.label or arguments.runs[0].name
        print(_table(recipe, label, runs, seeds))
        print(_notes(runs))
        if arguments.picture is not None:
            curves = {f"seed {seed}": _curve(run) for seed, run in runs.items()}
            save_picture(draw_seeds(curves, title=label), arguments.picture)
            print(f"curves: {arguments.picture}")


def _table(recipe: Recipe, label: str, runs: Mapping[int, Path], seeds: Seeds) -> str:
    low, high = seeds.interval
    spread = "" if seeds.spread is None else f" ± {percent(seeds.spread)}"
    cells = {
        "model": label,
        "weights": f"{_weights(recipe, next(iter(runs.values()))):,}",
        "seeds": ", ".join(map(str, seeds.rates)),
        f"{seeds.metric} %, mean ± deviation": f"{percent(seeds.mean)}{spread}",
        **({} if seeds.convention is None else {"scoring": seeds.convention}),
        "by seed": ", ".join(percent(rate) for rate in seeds.rates.values()),
        "95 % by speaker": f"{percent(low)} to {percent(high)}",
        "wall time": _minutes(list(runs.values())),
    }
    lines = [cells, dict.fromkeys(cells, "---"), cells.values()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _weights(recipe: Recipe, run: Path) -> int:
    model = bundle_from_checkpoint(best_checkpoint(run), recipe.name).model
    return sum(weight.numel() for weight in model.parameters())


def _minutes(runs: Sequence[Path]) -> str:
    minutes = [seconds / 60 for run in runs if (seconds := wall_time(run)) is not None]
    return ", ".join(f"{each:.1f}" for each in minutes) + " min" if minutes else "not known"


def _notes(runs: Mapping[int, Path]) -> str:
    """The commands and the machines of all runs, each once."""
    parts = [part for run in runs.values() for part in read_record(run)]
    lines = []
    for name in ("machine", "command"):
        lines += [f"{name}: {text}" for text in dict.fromkeys(part[name] for part in parts)]
    return "\n".join(lines or ["machine and command: not recorded"])


def _curve(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's curves.

    Raises:
        ConfigError: there are none.
    """
    path = run / "curves.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                {name: float(value) for name, value in row.items() if value}
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError):
        raise ConfigError(
            "there are no curves here", where=str(path), remedy="leave out --picture"
        ) from None
