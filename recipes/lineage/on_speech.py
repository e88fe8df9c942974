"""Peepholes on speech: the same training with and without them, paired by seed."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from asr.types import ConfigError
from recipes.common.export import best_checkpoint, bundle_from_checkpoint
from recipes.common.metric import Metric
from recipes.common.outcomes import by_seed, percent, read_outcome, wall_time
from recipes.lineage.statistics import paired

__all__ = ["add_options", "compare_runs"]


def add_options(part: ArgumentParser) -> None:
    """Add the command's options."""
    part.add_argument("recipe", help="that the runs are of, as in `python -m recipes.RECIPE`")
    for name, cell in (("with", "peephole"), ("without", "lstm")):
        part.add_argument(
            f"--{name}",
            dest=f"{name}_them",
            type=Path,
            nargs="+",
            required=True,
            metavar="RUN",
            help=f"folders of `fit` or `ablation` with the cell {cell}, a seed each",
        )
    part.add_argument(
        "--result",
        default="dev.greedy",
        metavar="NAME",
        help="of `evaluate` or `ablation` (default: %(default)s)",
    )


def compare_runs(arguments: Namespace) -> str:
    """A table of both error rates by seed, their mean difference, its interval and p.

    The interval is the bootstrap's over seeds, p that of all patterns of signs.

    Raises:
        ConfigError: there is no such recipe, fewer than two seeds have both runs, or a run has no
            such result.
    """
    one, other = (by_seed(runs) for runs in (arguments.with_them, arguments.without_them))
    seeds = sorted(set(one) & set(other))
    if len(seeds) < 2:
        raise ConfigError(
            f"{len(seeds)} seeds have a run with and one without peepholes",
            remedy="give runs that differ in the cell alone, with the same two seeds or more",
        )
    metric = _metric(arguments.recipe)
    rates = [
        [_rate(runs[seed], arguments.result, metric) for seed in seeds] for runs in (one, other)
    ]
    found = paired([a - b for a, b in zip(*rates, strict=True)])
    lines = ["| seed | with peepholes | without |", "| --- | --- | --- |"]
    for seed, a, b in zip(seeds, *rates, strict=True):
        lines.append(f"| {seed} | {percent(a)} % | {percent(b)} % |")
    unseen = found.unseen
    smallest = "" if unseen is None else f"; {percent(unseen)} points would have been seen"
    lines += [
        "",
        f"with peepholes less without: {percent(found.mean, '+')} points, 95 % interval "
        f"{percent(found.low, '+')} to {percent(found.high, '+')}, p = {found.p:.2g}, "
        f"{len(seeds)} seeds (p of so many cannot be below {2 / 2 ** len(seeds):.2g})"
        f"{smallest}",
    ]
    for name, runs in (("with", one), ("without", other)):
        chosen = [runs[seed] for seed in seeds]
        lines.append(f"{name}: {_size(chosen[0], arguments.recipe)}, {_minutes(chosen)}")
    return "\n".join(lines)


def _metric(recipe: str) -> Metric:
    """By which the recipe's own tables count: of phones in classes, for one."""
    try:
        metric: Metric = import_module(f"recipes.{recipe}.__main__").RECIPE.metric
    except (ImportError, AttributeError):
        raise ConfigError(f"there is no recipe {recipe!r}", remedy="name one as `an4`") from None
    return metric


def _rate(run: Path, result: str, metric: Metric) -> float:
    ours, ablations = (run / folder / f"{result}.jsonl" for folder in ("results", "ablation"))
    return read_outcome(ablations if ablations.exists() else ours, metric).rate


def _size(run: Path, recipe: str) -> str:
    model = bundle_from_checkpoint(best_checkpoint(run), recipe).model
    return f"{sum(weight.numel() for weight in model.parameters()):,} weights"


def _minutes(runs: Sequence[Path]) -> str:
    times = [seconds / 60 for run in runs if (seconds := wall_time(run)) is not None]
    return f"{', '.join(f'{time:.1f}' for time in times)} minutes" if times else "time not known"
