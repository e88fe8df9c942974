"""What many seeds say: intervals and tests of shares and of differences, all at 95 %.

Shares are of seeds that succeeded. Nothing here assumes that counts are large.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import comb, inf, sqrt

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DIFFERENCE",
    "SIGNIFICANT",
    "Comparison",
    "Paired",
    "compare",
    "fisher",
    "paired",
    "share",
    "wilson",
]

Z = 1.959963984540054  # of the normal distribution, two-sided
SIGNIFICANT = 0.05
RESAMPLES = 10_000
EXACT_SIGNS = 14  # up to so many differences all patterns of signs are tried


def wilson(successes: int, runs: int) -> tuple[float, float]:
    """Interval of a share (Wilson 1927)."""
    p, z = successes / runs, Z
    middle = p + z * z / (2 * runs)
    half = z * sqrt(p * (1 - p) / runs + z * z / (4 * runs * runs))
    scale = 1 + z * z / runs
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def share(successes: int, runs: int) -> str:
    """``7 of 8 (53 to 98 %)``."""
    low, high = wilson(successes, runs)
    return f"{successes} of {runs} ({100 * low:.0f} to {100 * high:.0f} %)"


def fisher(more: int, of_more: int, fewer: int, of_fewer: int) -> float:
    """Fisher's exact test, two-sided: tables as improbable as this one or more so."""
    total = more + fewer

    def ways(k: int) -> int:
        return comb(of_more, k) * comb(of_fewer, total - k)

    found = ways(more)
    every = [ways(k) for k in range(max(0, total - of_fewer), min(of_more, total) + 1)]
    return sum(w for w in every if w <= found) / sum(every)


DIFFERENCE = ("difference (95 %)", "p", "smallest that would show")  # headings of Comparison.cells


@dataclass(frozen=True)
class Comparison:
    """Two shares and their difference, first less second.

    Attributes:
        low, high: ends of the difference's interval (Newcombe 1998, method 10).
        p: by Fisher's exact test, two-sided.
        smallest: difference that runs as many as these would have told from 0, given the lesser
            share; infinite if the lesser is too near to 1 for any.
    """

    difference: float
    low: float
    high: float
    p: float
    smallest: float

    @property
    def points(self) -> str:
        """The difference and its interval: ``+66 points (+54 to +75)``."""
        return (
            f"{100 * self.difference:+.0f} points ({100 * self.low:+.0f} to {100 * self.high:+.0f})"
        )

    @property
    def cells(self) -> list[str]:
        """For a table: the difference, p, and the smallest difference, if it is not told from 0."""
        unseen = self.low <= 0 <= self.high
        seen = (f"{100 * self.smallest:.0f} points" if self.smallest < inf else "none") * unseen
        return [self.points, f"{self.p:.2g}", seen]

    def __str__(self) -> str:
        text = f"{self.points}, p = {self.p:.2g}"
        if self.low <= 0 <= self.high:
            size = f"of {100 * self.smallest:.0f} points" if self.smallest < inf else "of no size"
            text += f"; a difference {size} would have been seen"
        return text


def _difference(one: int, of_one: int, other: int, of_other: int) -> tuple[float, float, float]:
    p, q = one / of_one, other / of_other
    (p_low, p_high), (q_low, q_high) = wilson(one, of_one), wilson(other, of_other)
    low = p - q - sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    return p - q, low, p - q + sqrt((p_high - p) ** 2 + (q - q_low) ** 2)


def compare(one: int, of_one: int, other: int, of_other: int) -> Comparison:
    """``one`` successes of ``of_one`` runs against ``other`` of ``of_other``."""
    lesser, of_lesser, of_greater = (
        (other, of_other, of_one) if one * of_other >= other * of_one else (one, of_one, of_other)
    )
    seen = (
        k / of_greater - lesser / of_lesser
        for k in range(of_greater + 1)
        if _difference(k, of_greater, lesser, of_lesser)[1] > 0
    )
    difference, low, high = _difference(one, of_one, other, of_other)
    p = fisher(one, of_one, other, of_other)
    return Comparison(difference, low, high, p, next(seen, inf))


@dataclass(frozen=True)
class Paired:
    """Differences of pairs.

    Attributes:
        mean: of them.
        low, high: its interval, by the bootstrap's percentiles.
        p: that the signs fell so by chance, two-sided.
    """

    mean: float
    low: float
    high: float
    p: float

    @property
    def unseen(self) -> float | None:
        """Half of the interval's width if it holds 0: a mean beyond that would have been seen."""
        return (self.high - self.low) / 2 if self.low <= 0 <= self.high else None


def paired(differences: list[float]) -> Paired:
    """Judge the mean of ``differences``, one a pair. What is drawn is drawn the same each time."""
    values = np.array(differences)
    rng = np.random.default_rng(0)
    drawn = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    signs = _signs(len(values), rng)
    as_far = np.abs(signs @ values) >= abs(values.sum()) * (1 - 1e-12)
    return Paired(float(values.mean()), float(low), float(high), float(as_far.mean()))


def _signs(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    if count <= EXACT_SIGNS:
        return np.array(list(product((1.0, -1.0), repeat=count)))
    drawn = rng.choice((1.0, -1.0), (RESAMPLES, count))
    return np.concatenate([np.ones((1, count)), drawn])
