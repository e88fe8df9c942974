"""How sure an error rate is: the bootstrap over speakers or utterances (Bisani & Ney 2004)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr.scoring.edits import ErrorCounts

__all__ = ["bootstrap_interval", "draw_rates"]


def bootstrap_interval(
    counts: Sequence[ErrorCounts],
    groups: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Confidence interval of the error rate by the bootstrap (Bisani & Ney 2004).

    ``groups`` (speakers) are drawn as wholes, because errors of one speaker go together; without
    them utterances are drawn.
    """
    if not counts:
        return 0.0, 0.0
    [rates] = draw_rates([counts], groups, draws=draws, seed=seed)
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def draw_rates(
    systems: Sequence[Sequence[ErrorCounts]],
    groups: Sequence[str] | None = None,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Error rates of each system on the same ``draws`` samples, ``(systems, draws)``.

    A sample has as many groups as there are, drawn with replacement. Each system has the counts of
    the same utterances, one at least, in the same order.
    """
    names = groups if groups is not None else [str(number) for number in range(len(systems[0]))]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    rows = [numbers[name] for name in names]
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(numbers), size=(draws, len(numbers)))
    rates = []
    for counts in systems:
        table = np.zeros((len(numbers), 2), dtype=np.int64)  # errors, reference tokens
        np.add.at(table, rows, [(count.total, count.reference_length) for count in counts])
        sums = table[drawn].sum(axis=1)  # (draws, 2)
        rates.append(sums[:, 0] / np.maximum(sums[:, 1], 1))
    return np.array(rates)
