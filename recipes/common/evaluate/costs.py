"""What a condition costs: its error rate beside that of the same utterances as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asr.scoring import ErrorCounts, bootstrap_difference
from recipes.common.evaluate.scored import Scored
from recipes.common.evaluate.totals import groups_of

__all__ = ["Cost", "costs_of"]


@dataclass(frozen=True)
class Cost:
    """The errors in a condition, and how much they raise the error rate.

    Attributes:
        condition: empty for the utterances as they are.
        errors: of all utterances.
        rise: of the error rate; 0.01 is one point.
        low: end of the 95 % interval of the rise.
        high: end of the interval.
        drawn: what the interval is over: ``"speaker"`` or ``"utterance"``.
    """

    condition: str
    errors: ErrorCounts
    rise: float
    low: float
    high: float
    drawn: str


def costs_of(scored: Mapping[str, Sequence[Scored]]) -> list[Cost]:
    """The cost of each condition of ``scored``, where ``""`` are the utterances as they are."""
    clean = scored[""]
    groups, drawn = groups_of([(s.id, s.speaker) for s in clean])
    before = [s.errors for s in clean]
    rate = sum(before, ErrorCounts()).rate
    costs = []
    for condition, each in scored.items():
        after = [s.errors for s in each]
        total = sum(after, ErrorCounts())
        interval = bootstrap_difference(after, before, groups)
        costs.append(Cost(condition, total, total.rate - rate, interval.low, interval.high, drawn))
    return costs
