"""How far a hypothesis is from its reference."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ErrorCounts",
    "align",
    "bootstrap_interval",
    "confusions",
    "token_errors",
    "word_errors",
]

Pair = tuple[str | None, str | None]


@dataclass(frozen=True)
class ErrorCounts:
    """Edits that turn a reference into a hypothesis; adds up over utterances."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference_length: int = 0

    @property
    def total(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Edits per reference token; without references 0, or 1 if something was inserted."""
        if self.reference_length == 0:
            return float(self.total > 0)
        return self.total / self.reference_length

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.reference_length + other.reference_length,
        )


def align(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> list[tuple[int, int]]:
    """A shortest edit path (Levenshtein 1966; Wagner & Fischer 1974).

    Returns pairs of positions in order; -1 stands for nothing, so that ``(i, -1)`` is a deletion
    and ``(-1, j)`` an insertion. Between equal paths, substitutions come before the others.
    """
    cost = _costs(reference, hypothesis)
    path = []
    i, j = len(reference), len(hypothesis)
    while i or j:
        if i and j and cost[i, j] == cost[i - 1, j - 1] + (reference[i - 1] != hypothesis[j - 1]):
            i, j = i - 1, j - 1
            path.append((i, j))
        elif i and cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
            path.append((i, -1))
        else:
            j -= 1
            path.append((-1, j))
    return path[::-1]


def _costs(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> NDArray[np.int32]:
    """Edits between the first i and the first j tokens, ``(R + 1, H + 1)``, a row at a time."""
    ids = {token: number for number, token in enumerate({*reference, *hypothesis})}
    columns = np.array([ids[token] for token in hypothesis], dtype=np.int32)
    steps = np.arange(len(columns) + 1, dtype=np.int32)
    cost = np.empty((len(reference) + 1, len(steps)), dtype=np.int32)
    cost[0] = steps
    for i, token in enumerate(reference, start=1):
        above = cost[i - 1]
        row = above + 1
        row[1:] = np.minimum(row[1:], above[:-1] + (columns != ids[token]))
        # insertions: row[j] = min over k <= j of row[k] + (j - k)
        cost[i] = np.minimum.accumulate(row - steps) + steps
    return cost


def token_errors(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> ErrorCounts:
    """Count the edits between two sequences."""
    path = align(reference, hypothesis)
    return ErrorCounts(
        substitutions=sum(i >= 0 and j >= 0 and reference[i] != hypothesis[j] for i, j in path),
        deletions=sum(j < 0 for _, j in path),
        insertions=sum(i < 0 for i, _ in path),
        reference_length=len(reference),
    )


def word_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Count the edits between two texts, by words."""
    return token_errors(reference.split(), hypothesis.split())


def confusions(
    pairs: Iterable[tuple[Sequence[str], Sequence[str]]],
) -> list[tuple[str | None, str | None, int]]:
    """Which tokens were taken for which, over ``(reference, hypothesis)`` pairs, commonest first.

    ``None`` in the hypothesis' place is a deletion, in the reference's an insertion.
    """
    counts: Counter[Pair] = Counter()
    for reference, hypothesis in pairs:
        for i, j in align(reference, hypothesis):
            expected = reference[i] if i >= 0 else None
            found = hypothesis[j] if j >= 0 else None
            if expected != found:
                counts[expected, found] += 1
    return [(expected, found, count) for (expected, found), count in counts.most_common()]


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
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for number, count in enumerate(counts):
        name = groups[number] if groups is not None else str(number)
        totals[name][0] += count.total
        totals[name][1] += count.reference_length
    if not totals:
        return 0.0, 0.0
    table = np.array(list(totals.values()))  # (groups, 2)
    rng = np.random.default_rng(seed)
    drawn = table[rng.integers(len(table), size=(draws, len(table)))].sum(axis=1)  # (draws, 2)
    rates = drawn[:, 0] / np.maximum(drawn[:, 1], 1)
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
