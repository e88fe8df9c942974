"""Tables of error rates for the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asr.scoring import ErrorCounts, confusions
from asr.scoring.report import shown
from recipes.common.evaluate.costs import Cost
from recipes.common.evaluate.no_words import SECONDS, NoWords
from recipes.common.evaluate.scored import Scored, Scoring
from recipes.common.evaluate.totals import Totals

__all__ = [
    "group_rates",
    "print_conditions",
    "print_groups",
    "print_no_words",
    "print_overview",
    "print_scores",
]

COMMONEST = 8
UNNAMED = "-"  # of utterances that lack a field


def print_scores(
    scoring: Scoring,
    scored: Sequence[Scored],
    totals: Totals,
    *,
    title: str,
    seconds: float,
    note: str | None = None,
) -> None:
    """Print the table of one split's results, and ``note`` below it."""
    metric, errors = scoring.metric, totals.errors
    table = Table("what", "value", title=Text(title), caption=Text(note) if note else None)
    speakers = str(totals.speakers) if totals.speakers else "unknown"
    table.add_row("utterances, speakers", f"{totals.utterances}, {speakers}")
    if totals.unrecognised:
        table.add_row("not recognised, deleted in full", str(totals.unrecognised))
    table.add_row(metric.name, f"{_rate(errors)}  (95 % by {totals.drawn}: {_interval(totals)})")
    if scoring.scored_in:
        table.add_row("scored in", scoring.scored_in)
    if metric.convention:
        table.add_row("scoring", metric.convention)
    table.add_row("substitutions, deletions, insertions", _edits(errors))
    if totals.nist_errors != errors:
        nist = f"{_edits(totals.nist_errors)}: {_rate(totals.nist_errors)}"
        table.add_row("the same as NIST's sclite counts", nist)
    if scoring.has_characters:
        table.add_row("character error rate", _rate(totals.token_errors))
    if totals.nbest > 1:
        table.add_row(f"{metric.name} of the best of {totals.nbest:.1f}", _rate(totals.oracle))
    table.add_row("commonest confusions", Text(_confusions(scoring, scored)))
    if any(each.count for each in totals.bins):
        table.add_row("calibration error of confidences", f"{totals.calibration_error:.3f}")
    table.add_row("seconds of computing per second of audio", f"{seconds / totals.audio:.3f}")
    Console().print(table)


def print_overview(
    scoring: Scoring,
    rows: Mapping[str, tuple[Totals, float]],
    *,
    title: str,
    note: str | None = None,
) -> None:
    """Print a row for each split: its totals, and the seconds it took."""
    metric = scoring.metric.name
    columns = ["split", "utts", metric, "95 %", "sub del ins"]
    columns += ["CER"] if scoring.has_characters else []
    columns += ["oracle"] if any(totals.nbest > 1 for totals, _ in rows.values()) else []
    columns += ["ECE", "time"]
    drawn = " or ".join(sorted({totals.drawn for totals, _ in rows.values()}))
    caption = [f"rates in percent; intervals by {drawn}; ECE: calibration error of confidences"]
    caption += [f"scored in {scoring.scored_in}"] if scoring.scored_in else []
    caption += [f"scoring: {scoring.metric.convention}"] if scoring.metric.convention else []
    caption += ["time: seconds of computing per second of audio", *filter(None, [note])]
    table = Table(
        title=Text(title),
        caption=Text("\n".join(caption)),
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # 80 columns hold it
    )
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    for split, (totals, seconds) in rows.items():
        cells = {
            "split": split,
            "utts": str(totals.utterances),
            metric: _percent(totals.errors.rate),
            "95 %": f"{_percent(totals.low)}-{_percent(totals.high)}",
            "sub del ins": " ".join(_percent(part, 1) for part in _parts(totals.errors)),
            "CER": _percent(totals.token_errors.rate),
            "oracle": _percent(totals.oracle.rate),
            "ECE": f"{totals.calibration_error:.3f}",
            "time": f"{seconds / totals.audio:.3f}",
        }
        table.add_row(*(Text(cells[column]) for column in columns))
    Console().print(table)


def group_rates(scored: Sequence[Scored], field: str) -> dict[str, list[Scored]]:
    """Utterances by what their field says, the least well recognised first."""
    groups: dict[str, list[Scored]] = defaultdict(list)
    for each in scored:
        groups[each.fields.get(field, UNNAMED)].append(each)
    return dict(sorted(groups.items(), key=lambda item: (-_sum(item[1]).rate, item[0])))


def print_groups(
    scoring: Scoring, groups: Mapping[str, Sequence[Scored]], field: str, *, title: str
) -> None:
    """Print the error rate of each group."""
    columns = (field, "utterances", scoring.metric.name, "sub, del, ins")
    table = Table(*columns, title=Text(f"{title}, by {field}"))
    for name, scored in groups.items():
        errors = _sum(scored)
        table.add_row(Text(name), str(len(scored)), _rate(errors), _edits(errors))
    Console().print(table)


def print_conditions(
    scoring: Scoring, costs: Sequence[Cost], told: Mapping[str, str], *, title: str
) -> None:
    """Print the error rate in each condition and by how many points it is higher there.

    ``told`` says what each condition is.
    """
    metric = scoring.metric.name
    caption = f"rates in percent; rise: of the {metric} in points, intervals by {costs[0].drawn}"
    table = Table(title=Text(title), caption=Text(caption))
    table.add_column("condition")
    for column in (metric, "rise", "95 %"):
        table.add_column(column, justify="right", no_wrap=True)
    for cost in costs:
        rise = ("", "")
        if cost.condition:
            interval = f"{_points(cost.low)} to {_points(cost.high)}"
            rise = (_points(cost.rise), interval)
        table.add_row(told.get(cost.condition, "as it is"), _percent(cost.errors.rate), *rise)
    Console().print(table)


def print_no_words(heard: Sequence[NoWords]) -> None:
    """Print in how many recordings without words some were heard."""
    title = f"heard in {SECONDS:g} s without words"
    table = Table("audio", "recordings", "with words", "for example", title=title)
    for each in heard:
        table.add_row(each.kind, str(each.recordings), str(len(each.texts)), Text(each.example))
    Console().print(table)


def _sum(scored: Sequence[Scored]) -> ErrorCounts:
    return sum((each.errors for each in scored), ErrorCounts())


def _rate(errors: ErrorCounts) -> str:
    return f"{_percent(errors.rate)} %"


def _percent(rate: float, digits: int = 2) -> str:
    return f"{100 * rate:.{digits}f}"


def _points(rate: float) -> str:
    """A difference of two rates, in points."""
    return f"{100 * rate:+.2f}"


def _interval(totals: Totals) -> str:
    return f"{_percent(totals.low)} to {_percent(totals.high)}"


def _parts(errors: ErrorCounts) -> tuple[float, float, float]:
    """Substitutions, deletions and insertions by reference tokens."""
    length = max(errors.reference_length, 1)
    counts = errors.substitutions, errors.deletions, errors.insertions
    return counts[0] / length, counts[1] / length, counts[2] / length


def _edits(errors: ErrorCounts) -> str:
    counts = f"{errors.substitutions}, {errors.deletions}, {errors.insertions}"
    return f"{counts} of {errors.reference_length}"


def _confusions(scoring: Scoring, scored: Sequence[Scored]) -> str:
    """The most frequent wrong tokens, as reference->hypothesis."""
    pairs = ((scoring.tokens(s.reference), scoring.tokens(s.hypothesis)) for s in scored)
    return ", ".join(
        f"{shown(reference)}->{shown(hypothesis)} {count}"
        for reference, hypothesis, count in confusions(pairs)[:COMMONEST]
    )
