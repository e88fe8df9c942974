"""The edits between a reference and a hypothesis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NIST_COSTS",
    "EditCosts",
    "ErrorCounts",
    "Path",
    "align",
    "confusions",
    "count_errors",
    "token_errors",
    "word_errors",
]

Path = list[tuple[int, int]]

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


@dataclass(frozen=True)
class EditCosts:
    """What an edit costs: whole numbers, above 0."""

    substitution: int
    deletion: int
    insertion: int


# Those of NIST's sclite. They may prefer a path with more edits and more tokens right.
NIST_COSTS = EditCosts(substitution=4, deletion=3, insertion=3)


def align(
    reference: Sequence[Hashable], hypothesis: Sequence[Hashable], costs: EditCosts | None = None
) -> Path:
    """The cheapest edit path (Levenshtein 1966; Wagner & Fischer 1974).

    Returns pairs of positions in order; -1 stands for nothing, so that ``(i, -1)`` is a deletion
    and ``(-1, j)`` an insertion. Without ``costs`` it is a shortest path, and of these one with the
    most tokens right. Between equal paths the choice is that of NIST's sclite.
    """
    if costs is None:  # no number of substitutions outweighs an edit
        unit = min(len(reference), len(hypothesis)) + 1
        costs = EditCosts(unit + 1, unit, unit)
    cost = _total_costs(reference, hypothesis, costs)
    path = []
    i, j = len(reference), len(hypothesis)
    while i or j:
        if i and j:
            edit = costs.substitution * (reference[i - 1] != hypothesis[j - 1])
            diagonal = cost[i, j] == cost[i - 1, j - 1] + edit
            inserted = cost[i, j] == cost[i, j - 1] + costs.insertion
        else:
            diagonal, inserted = False, j > 0
        if diagonal:
            i, j = i - 1, j - 1
            path.append((i, j))
        elif inserted:
            j -= 1
            path.append((-1, j))
        else:
            i -= 1
            path.append((i, -1))
    return path[::-1]


def _total_costs(
    reference: Sequence[Hashable], hypothesis: Sequence[Hashable], costs: EditCosts
) -> NDArray[np.int32]:
    """Costs between the first i and the first j tokens, ``(R + 1, H + 1)``, a row at a time."""
    ids = {token: number for number, token in enumerate({*reference, *hypothesis})}
    columns = np.array([ids[token] for token in hypothesis], dtype=np.int32)
    inserted = costs.insertion * np.arange(len(columns) + 1, dtype=np.int32)
    total = np.empty((len(reference) + 1, len(inserted)), dtype=np.int32)
    total[0] = inserted
    for i, token in enumerate(reference, start=1):
        above = total[i - 1]
        row = above + costs.deletion
        row[1:] = np.minimum(row[1:], above[:-1] + costs.substitution * (columns != ids[token]))
        # insertions: row[j] = min over k <= j of row[k] + (j - k) * insertion
        total[i] = np.minimum.accumulate(row - inserted) + inserted
    return total


def count_errors(
    path: Path, reference: Sequence[Hashable], hypothesis: Sequence[Hashable]
) -> ErrorCounts:
    """Count the edits of a path of :func:`align`."""
    return ErrorCounts(
        substitutions=sum(i >= 0 and j >= 0 and reference[i] != hypothesis[j] for i, j in path),
        deletions=sum(j < 0 for _, j in path),
        insertions=sum(i < 0 for i, _ in path),
        reference_length=len(reference),
    )


def token_errors(
    reference: Sequence[Hashable], hypothesis: Sequence[Hashable], costs: EditCosts | None = None
) -> ErrorCounts:
    """Count the edits between two sequences, on the path of :func:`align`."""
    return count_errors(align(reference, hypothesis, costs), reference, hypothesis)


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
