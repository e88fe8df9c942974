"""``ablation PLAN``: what each option is worth, in one table."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from asr.files.write import write_text
from asr.types import ConfigError, TrainingError
from recipes.common.ablation.drive import Command, Driver, in_a_process, result_of
from recipes.common.ablation.plan import Job, Plan, jobs, read_plan
from recipes.common.export import bundle_from_checkpoint
from recipes.common.outcomes import (
    Seeds,
    difference,
    gap_closed,
    percent,
    read_outcome,
    wall_time,
)
from recipes.common.recipe import Recipe

__all__ = ["Ablation", "ablation_table"]

TABLE = "table.md"


class Ablation:
    """The command."""

    help = "train the rows of a plan with several seeds, and print what each is worth"

    def __init__(self, command: Command | None = None) -> None:
        self.command = command

    def add_options(self, part: ArgumentParser) -> None:
        """Add its options."""
        part.add_argument("plan", type=Path, help="YAML: seeds, options, rows")
        part.add_argument("--corpus", type=Path, help="of `prepare`")
        part.add_argument("--root", type=Path, help="folder of all runs (default: exp/RECIPE/PLAN)")
        part.add_argument(
            "--set",
            metavar="NAME=TEXT",
            action="append",
            default=[],
            help="a text for {NAME} in the plan; may be given several times",
        )
        part.add_argument("--only", metavar="ROW,…", help="train these rows alone")
        part.add_argument(
            "--table", action="store_true", help="train nothing: print the table of what there is"
        )

    def run(self, recipe: Recipe, arguments: Namespace) -> None:
        """Train what is not trained yet, one run after another; print the table.

        Raises:
            ConfigError: the plan cannot be read, or a run was begun with other options or another
                corpus.
            TrainingError: some runs failed; the others are done.
        """
        plan = read_plan(arguments.plan)
        root = arguments.root or recipe.paths.root / arguments.plan.stem
        every = jobs(plan, root, _places(arguments.set))
        driver = Driver(self.command or in_a_process(recipe.name), arguments.corpus)
        chosen = [] if arguments.table else _chosen(every, arguments.only)
        for job in chosen:
            driver.check(job)
        failed: list[str] = []
        for job in chosen:
            failed += filter(None, [driver.perform(job)])
            if result_of(job) is not None:
                write_text(root / TABLE, ablation_table(recipe, plan, every))
        print(ablation_table(recipe, plan, every), end="")
        if failed:
            raise TrainingError(
                f"{len(failed)} of {len(chosen)} runs failed: {'; '.join(failed)}",
                remedy="mend what is told there, then give the same command: it does the rest",
            )


def _places(given: Sequence[str]) -> dict[str, str]:
    for text in given:
        if "=" not in text:
            raise ConfigError(f"--set {text}", remedy="give --set NAME=TEXT")
    return {name: value for name, _, value in (text.partition("=") for text in given)}


def _chosen(every: Sequence[Job], only: str | None) -> list[Job]:
    if only is None:
        return list(every)
    names = only.split(",")
    if unknown := set(names) - {job.row for job in every}:
        raise ConfigError(
            f"the plan has no row {', '.join(sorted(unknown))}", remedy="see the plan"
        )
    return [job for job in every if job.row in names]


def ablation_table(recipe: Recipe, plan: Plan, every: Sequence[Job]) -> str:
    """The table of what is finished, in Markdown; the first row is the base of the differences."""
    titles = [
        *("row", "what is different", "weights"),
        *(f"{recipe.metric.name} % (95 % by speaker)", "by seed"),
        *("less the first row's, by seed", "mean (95 % by speaker)"),
    ]
    if plan.gap is not None:
        far, near = plan.gap
        titles += [f"% of the way from {far} to {near}, by seed", "all (95 % by speaker)"]
    titles.append("minutes a run")
    lines = [_line(titles), "|" + len(titles) * "---|"]
    found = {name: seeds for name in plan.rows if (seeds := _seeds(recipe, name, every))}
    base = found.get(next(iter(plan.rows)))
    for number, (name, row) in enumerate(plan.rows.items()):
        if name not in found:
            continue
        mine, seeds = [job for job in every if job.row == name], found[name]
        cells = [name, row.says, _weights(recipe, mine), *_cells(recipe, seeds)]
        cells += _differences(seeds, base) if number else ["", ""]
        if plan.gap is not None:
            cells += ["", ""] if name in plan.gap else _gap(seeds, *map(found.get, plan.gap))
        lines.append(_line([*cells, _minutes([job for job in mine if job.seed in seeds.outcomes])]))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _seeds(recipe: Recipe, name: str, every: Sequence[Job]) -> Seeds | None:
    """What a row gave with each seed that is finished; None before the first is."""
    rows = {job.seed: rows for job in every if job.row == name and (rows := result_of(job))}
    read = {seed: read_outcome(path, recipe.metric, recipe.scorings) for seed, path in rows.items()}
    return Seeds(read) if read else None


def _cells(recipe: Recipe, seeds: Seeds) -> list[str]:
    low, high = seeds.interval
    unit = "" if seeds.metric == recipe.metric.name else f"{seeds.metric} "
    how = "" if seeds.convention is None else f", {seeds.convention}"
    rate = f"{unit}{percent(seeds.mean)} ({percent(low)} to {percent(high)}){how}"
    return [rate, ", ".join(percent(rate) for rate in seeds.rates.values())]


def _differences(seeds: Seeds, base: Seeds | None) -> list[str]:
    found = difference(seeds, base) if base is not None else None
    if found is None:
        return ["cannot be compared", ""]
    by_seed = ", ".join(percent(value, "+") for value in found.by_seed.values())
    interval = f"({percent(found.low, '+')} to {percent(found.high, '+')})"
    return [by_seed, f"{percent(found.mean, '+')} {interval}"]


def _gap(seeds: Seeds, far: Seeds | None, near: Seeds | None) -> list[str]:
    found = gap_closed(seeds, far, near) if far is not None and near is not None else None
    if found is None:
        return ["cannot be compared", ""]
    by_seed = ", ".join(f"{100 * share:.0f}" for share in found.by_seed.values())
    ends = " to ".join(f"{100 * end:.0f}" for end in (found.low, found.high))
    return [by_seed, f"{100 * found.whole:.0f} ({ends})"]


def _weights(recipe: Recipe, mine: Sequence[Job]) -> str:
    for job in mine:
        checkpoint = job.trained / "checkpoints" / "best.ckpt"
        if checkpoint.is_file():
            model = bundle_from_checkpoint(checkpoint, recipe.name).model
            return f"{sum(weight.numel() for weight in model.parameters()):,}"
    return ""


def _minutes(finished: Sequence[Job]) -> str:
    seconds = [s for job in finished if (s := wall_time(job.run)) is not None]
    return f"{sum(seconds) / len(seconds) / 60:.1f}" if seconds else ""
