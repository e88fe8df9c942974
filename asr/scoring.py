"""How far a hypothesis is from its reference."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

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


def align(reference: Sequence[object], hypothesis: Sequence[object]) -> list[tuple[int, int]]:
    """A shortest edit path (Levenshtein 1966; Wagner & Fischer 1974).

    Returns pairs of positions in order; -1 stands for nothing, so that ``(i, -1)`` is a deletion
    and ``(-1, j)`` an insertion. Between equal paths, substitutions come before the others.
    """
    R, H = len(reference), len(hypothesis)
    cost = np.zeros((R + 1, H + 1), dtype=np.int64)
    cost[:, 0] = np.arange(R + 1)
    cost[0] = np.arange(H + 1)
    for i in range(1, R + 1):
        row, above = cost[i], cost[i - 1]
        for j in range(1, H + 1):
            step = above[j - 1] + (reference[i - 1] != hypothesis[j - 1])
            row[j] = min(step, above[j] + 1, row[j - 1] + 1)
    path = []
    i, j = R, H
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


def token_errors(reference: Sequence[object], hypothesis: Sequence[object]) -> ErrorCounts:
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

    ``None`` as heard is a deletion, ``None`` as said an insertion.
    """
    counts: Counter[Pair] = Counter()
    for reference, hypothesis in pairs:
        for i, j in align(reference, hypothesis):
            said = reference[i] if i >= 0 else None
            heard = hypothesis[j] if j >= 0 else None
            if said != heard:
                counts[said, heard] += 1
    return [(said, heard, count) for (said, heard), count in counts.most_common()]


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
