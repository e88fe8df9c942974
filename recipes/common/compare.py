"""Which of two results is better, and whether by more than chance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from asr.files.read import read_lines
from asr.scoring import (
    BootstrapDifference,
    ErrorCounts,
    MatchedPairs,
    bootstrap_difference,
    matched_pairs,
)
from asr.types import ConfigError
from recipes.common.evaluate import Scoring
from recipes.common.evaluate.totals import groups_of
from recipes.common.metric import Metric

__all__ = ["Comparison", "compare", "metric_of", "options_of", "print_comparison"]

REMEDY = "give the file of rows (.jsonl) of an evaluation"
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Row:
    """One utterance of a result."""

    speaker: str | None
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Comparison:
    """Two results on the same utterances: their errors, and the tests of the difference.

    ``drawn`` is what the bootstrap draws: ``"speaker"`` or ``"utterance"``.
    """

    utterances: int
    first: ErrorCounts
    second: ErrorCounts
    pairs: MatchedPairs
    bootstrap: BootstrapDifference
    drawn: str


def compare(metric: Metric, first: Path, second: Path) -> Comparison:
    """Compare two files of rows that `evaluate` wrote.

    Raises:
        ConfigError: one cannot be read, or they are not of the same utterances and references.
    """
    rows = read_rows(first), read_rows(second)
    _require_same(first, second, *rows)
    names = list(rows[0])
    one, other = ([side[name] for name in names] for side in rows)
    groups, drawn = groups_of([(name, rows[0][name].speaker) for name in names])
    units = Scoring(metric, "").units
    counts = [[metric.count(r.reference, r.hypothesis) for r in side] for side in (one, other)]
    return Comparison(
        utterances=len(names),
        first=sum(counts[0], ErrorCounts()),
        second=sum(counts[1], ErrorCounts()),
        pairs=matched_pairs(
            [units(row.reference) for row in one],
            [units(row.hypothesis) for row in one],
            [units(row.hypothesis) for row in other],
        ),
        bootstrap=bootstrap_difference(counts[0], counts[1], groups),
        drawn=drawn,
    )


def read_rows(path: Path) -> dict[str, Row]:
    """The rows of a result by id.

    Raises:
        ConfigError: the file cannot be read, has no rows, an id twice, or lines that are no rows.
    """
    rows: dict[str, Row] = {}
    for line in read_lines(path, ConfigError, remedy=REMEDY):
        try:
            values = json.loads(line.text)
            name, row = _row(values)
        except (ValueError, LookupError, TypeError):
            raise ConfigError(
                "this is no row of a result", where=line.where, remedy=REMEDY
            ) from None
        if name in rows:
            raise ConfigError(f"{name} stands here twice", where=line.where, remedy=REMEDY)
        rows[name] = row
    if not rows:
        raise ConfigError("the file has no rows", where=str(path), remedy=REMEDY)
    return rows


def _row(values: Any) -> tuple[str, Row]:
    """An utterance's id and row.

    Raises:
        LookupError, TypeError: these are no such values.
    """
    texts = values["id"], values["reference"], values["hypothesis"]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError
    speaker = values.get("speaker")
    return texts[0], Row(None if speaker is None else str(speaker), texts[1], texts[2])


def _require_same(
    first: Path, second: Path, one: Mapping[str, Row], other: Mapping[str, Row]
) -> None:
    lonely = sorted(one.keys() ^ other.keys())
    if lonely:
        owner, lacking = (first, second) if lonely[0] in one else (second, first)
        raise ConfigError(
            f"{len(lonely)} utterances are in one result alone: {lonely[0]}, of {owner}, is the "
            "first",
            where=str(lacking),
            remedy="compare results of the same split",
        )
    for name, row in one.items():
        if row.reference != other[name].reference:
            raise ConfigError(
                f"{name} has another reference than in {first}",
                where=str(second),
                remedy="compare results of the same data",
            )


def metric_of(
    results: Sequence[Path], usual: Metric, scorings: Mapping[str, Metric] = {}
) -> Metric:
    """How the results were scored, where they say so and agree; else ``usual``.

    Of ``scorings`` it is the one by which `evaluate` was told to count in all of them, with the
    name that it gave to it: PER of phones, for one.

    Raises:
        ConfigError: they were counted in a way that is none of ``scorings``.
    """
    told = [options_of(path) for path in results]
    ways = {options.get("scoring") for options in told}
    way = ways.pop() if len(ways) == 1 else None
    if scorings and way is not None:
        if way not in scorings:
            raise ConfigError(
                f"this was scored by {way!r}",
                where=str(results[0]),
                remedy=f"evaluate again by one of {', '.join(scorings)}",
            )
        usual = scorings[way]
    names = {str(options["metric"]) for options in told if "metric" in options}
    return replace(usual, name=names.pop()) if len(names) == 1 else usual


def options_of(result: Path) -> Mapping[str, Any]:
    """The options of a result that stand beside it; none where they cannot be read."""
    try:
        options = json.loads(result.with_suffix(".json").read_text(encoding="utf-8"))["options"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return options if isinstance(options, Mapping) else {}


def print_comparison(metric: Metric, found: Comparison, names: Sequence[str]) -> None:
    """Print what was found; ``names`` are those of the two results."""
    table = Table("what", "value", title=Text(f"A: {names[0]}\nB: {names[1]}"))
    table.add_row("utterances", str(found.utterances))
    for letter, errors in (("A", found.first), ("B", found.second)):
        table.add_row(f"{metric.name} of {letter}", f"{100 * errors.rate:.2f} %")
    if metric.convention:
        table.add_row("scoring", metric.convention)
    boot, pairs = found.bootstrap, found.pairs
    table.add_row(
        "A less B, bootstrap",
        f"{100 * (found.first.rate - found.second.rate):+.2f} points  "
        f"(95 % by {found.drawn}: {100 * boot.low:+.2f} to {100 * boot.high:+.2f})",
    )
    table.add_row(
        "better in the draws",
        f"A in {100 * boot.first_better:.1f} %, B in {100 * boot.second_better:.1f} %",
    )
    p = f"p {pairs.p:.4f}" if pairs.p >= 1e-4 else "p below 0.0001"
    table.add_row("matched pairs (MAPSSWE)", f"{pairs.segments} segments, z {pairs.z:+.3f}, {p}")
    table.add_row("which is better", Text(_verdict(found)))
    Console().print(table)


def _verdict(found: Comparison) -> str:
    if found.pairs.p >= SIGNIFICANT:
        return f"cannot be told: p is not below {SIGNIFICANT}"
    return f"{'B' if found.pairs.mean > 0 else 'A'}, by the matched pairs"
