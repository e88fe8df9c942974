"""What the runs of several seeds gave: mean, spread, intervals and differences by speaker."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml

from asr.scoring import ErrorCounts, bootstrap_difference, bootstrap_interval
from asr.scoring.intervals import draw_rates
from asr.types import ConfigError
from recipes.common.compare import metric_of, read_rows
from recipes.common.evaluate.totals import groups_of
from recipes.common.metric import Metric

__all__ = [
    "Difference",
    "GapClosed",
    "Outcome",
    "Seeds",
    "by_seed",
    "difference",
    "gap_closed",
    "percent",
    "read_outcome",
    "wall_time",
]


@dataclass(frozen=True)
class Outcome:
    """The errors of a run by utterance: ``(id, speaker)``, the metric's name and convention."""

    metric: str
    errors: Mapping[tuple[str, str | None], ErrorCounts]
    convention: str | None = None

    @property
    def rate(self) -> float:
        """The error rate of all of them."""
        return sum(self.errors.values(), ErrorCounts()).rate


def read_outcome(rows: Path, usual: Metric, scorings: Mapping[str, Metric] = {}) -> Outcome:
    """Read a file of rows that `evaluate` wrote; errors count as it was told to count them.

    That is one of ``scorings``, or else ``usual``.

    Raises:
        ConfigError: it cannot be read, or was counted in a way that is not known.
    """
    metric = metric_of([rows], usual, scorings)
    return Outcome(
        metric.name,
        {
            (name, row.speaker): metric.count(row.reference, row.hypothesis)
            for name, row in read_rows(rows).items()
        },
        metric.convention,
    )


@dataclass(frozen=True)
class Seeds:
    """The same training with several seeds: their outcomes by seed, one at least.

    The seeds may have the same development speakers, or speakers of their own.

    Raises:
        ConfigError: they were not scored by one metric.
    """

    outcomes: Mapping[int, Outcome]

    def __post_init__(self) -> None:
        ways = {(outcome.metric, outcome.convention) for outcome in self.outcomes.values()}
        if len(ways) != 1:
            told = sorted(f"{name} ({how})" if how else name for name, how in ways)
            raise ConfigError(
                f"some of the results are {' and others '.join(told)}",
                remedy="evaluate all of them in one way",
            )

    @property
    def metric(self) -> str:
        """The metric's name."""
        return next(iter(self.outcomes.values())).metric

    @property
    def convention(self) -> str | None:
        """How errors are counted, where that has to be said."""
        return next(iter(self.outcomes.values())).convention

    @property
    def rates(self) -> dict[int, float]:
        """The error rate of each seed."""
        return {seed: outcome.rate for seed, outcome in self.outcomes.items()}

    @property
    def mean(self) -> float:
        """Of the seeds' error rates."""
        return statistics.mean(self.rates.values())

    @property
    def spread(self) -> float | None:
        """Standard deviation of the seeds' error rates; none of one seed."""
        return statistics.stdev(self.rates.values()) if len(self.outcomes) > 1 else None

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The error rate's 95 % interval over speakers, all seeds together."""
        keys = [key for outcome in self.outcomes.values() for key in outcome.errors]
        errors = [count for outcome in self.outcomes.values() for count in outcome.errors.values()]
        return bootstrap_interval(errors, groups_of(keys)[0])


@dataclass(frozen=True)
class Difference:
    """How much more one training errs than another: by seed, and the 95 % interval of all."""

    by_seed: Mapping[int, float]
    low: float
    high: float

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.mean(self.by_seed.values())


def difference(one: Seeds, base: Seeds) -> Difference | None:
    """``one`` less ``base``, over the seeds that both have; None where they cannot be compared.

    Each seed's utterances are paired, and the interval is drawn by speaker.
    """
    matched = _matched(one, base)
    if matched is None:
        return None
    common, groups, (errors, others) = matched
    boot = bootstrap_difference(errors, others, groups)
    by_seed = {seed: one.rates[seed] - base.rates[seed] for seed in common}
    return Difference(by_seed, boot.low, boot.high)


@dataclass(frozen=True)
class GapClosed:
    """Which share of the way from a worse training to a better one a third one goes.

    By seed, of all seeds together, and the 95 % interval of that. The interval has no end where the
    two may as well be equal.
    """

    by_seed: Mapping[int, float]
    whole: float
    low: float
    high: float


def gap_closed(one: Seeds, far: Seeds, near: Seeds) -> GapClosed | None:
    """How far ``one`` goes from ``far`` to ``near``; None where they cannot be compared.

    The utterances of each seed that all have go together, and the interval is drawn by speaker.
    """
    matched = _matched(one, far, near)
    if matched is None:
        return None
    common, groups, errors = matched
    by_seed = {seed: _share(*(each.rates[seed] for each in (one, far, near))) for seed in common}
    whole = _share(*(sum(counts, ErrorCounts()).rate for counts in errors))
    drawn = [_share(*rates) for rates in draw_rates(errors, groups).T.tolist()]
    low = np.quantile(np.nan_to_num(drawn, nan=-np.inf, neginf=-np.inf), 0.025, method="lower")
    high = np.quantile(np.nan_to_num(drawn, nan=np.inf, posinf=np.inf), 0.975, method="higher")
    return GapClosed(by_seed, whole, float(low), float(high))


def _share(one: float, far: float, near: float) -> float:
    """Of the way; not a number where there is none."""
    return (far - one) / (far - near) if far > near else math.nan


def _matched(
    *trainings: Seeds,
) -> tuple[list[int], Sequence[str] | None, list[list[ErrorCounts]]] | None:
    """The seeds that all have, the speakers of their utterances, and each training's errors."""
    first, *others = trainings
    common = [seed for seed in first.outcomes if all(seed in each.outcomes for each in others)]
    keys = [key for seed in common for key in first.outcomes[seed].errors]
    is_same = all(
        (each.metric, each.convention) == (first.metric, first.convention)
        and all(
            each.outcomes[seed].errors.keys() == first.outcomes[seed].errors.keys()
            for seed in common
        )
        for each in others
    )
    if not common or not is_same:
        return None
    errors = [
        [each.outcomes[seed].errors[key] for seed in common for key in first.outcomes[seed].errors]
        for each in trainings
    ]
    return common, groups_of(keys)[0], errors


def by_seed(runs: Sequence[Path]) -> dict[int, Path]:
    """The runs of `fit` by their seeds.

    Raises:
        ConfigError: the options of one cannot be read, or two have one seed.
    """
    found: dict[int, Path] = {}
    for run in runs:
        seed = _seed(run)
        if seed in found:
            raise ConfigError(
                f"this run has the seed {seed}, as {found[seed]} has",
                where=str(run),
                remedy="give runs that differ in their seeds alone",
            )
        found[seed] = run
    return found


def _seed(run: Path) -> int:
    path = run / "config.yaml"
    try:
        return int(yaml.safe_load(path.read_text(encoding="utf-8"))["seed_everything"])
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        raise ConfigError(
            "no seed stands here", where=str(path), remedy="give folders of `fit`"
        ) from None


def wall_time(run: Path) -> float | None:
    """Seconds that a run has trained, as its curves say; None where they do not."""
    try:
        with (run / "curves.csv").open(encoding="utf-8", newline="") as file:
            *_, last = csv.DictReader(file)
        return float(last["seconds"])
    except (OSError, ValueError, KeyError):
        return None


def percent(rate: float, sign: str = "") -> str:
    """A rate in percent, two digits behind the point."""
    return f"{100 * rate:{sign}.2f}"
