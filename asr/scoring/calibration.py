"""Whether confidences mean something: of words said with 0.9, nine in ten are right."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.scoring.edits import align

__all__ = [
    "ReliabilityBin",
    "calibration_error",
    "reliability",
    "reliability_by_count",
    "right_tokens",
]

NORMAL_95 = 1.959964  # 95 % of a normal variable lie so many deviations from its mean, at most
MIN_WORDS = 50  # of a bin with as many words as the others
MAX_BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """Words whose confidence lies between ``low`` and ``high``.

    Attributes:
        low: end of the bin, left out except in the first.
        high: end of the bin, included.
        count: how many words.
        confidence: their mean confidence; 0 of none.
        accuracy: the share of them that is right; 0 of none.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy, as if words were independent (Wilson 1927)."""
        if not self.count:
            return 0.0, 1.0
        n, p, z = self.count, self.accuracy, NORMAL_95
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return max(0.0, middle - half), min(1.0, middle + half)


def right_tokens(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> list[bool]:
    """Of each token of ``hypothesis``, whether the alignment finds it in ``reference``."""
    right = [False] * len(hypothesis)
    for i, j in align(reference, hypothesis):
        if i >= 0 and j >= 0:
            right[j] = reference[i] == hypothesis[j]
    return right


def reliability(
    confidences: Sequence[float], right: Sequence[bool], bins: int = 10
) -> list[ReliabilityBin]:
    """The reliability diagram (DeGroot & Fienberg 1983): bins of equal width from 0 to 1."""
    values = np.asarray(confidences, dtype=np.float64)
    is_right = np.asarray(right, dtype=bool)
    numbers = np.clip(np.ceil(values * bins).astype(int) - 1, 0, bins - 1)
    return [
        _bin(n / bins, (n + 1) / bins, values[numbers == n], is_right[numbers == n])
        for n in range(bins)
    ]


def reliability_by_count(
    confidences: Sequence[float],
    right: Sequence[bool],
    bins: int = MAX_BINS,
    min_words: int = MIN_WORDS,
) -> list[ReliabilityBin]:
    """The same with about equally many words in each bin, ``min_words`` at least, by confidence.

    Most words of a good model have high confidences: here their bins are narrow. There are at most
    ``bins``, and one if there are few words. Words of one confidence are in one bin.
    """
    values = np.asarray(confidences, dtype=np.float64)
    is_right = np.asarray(right, dtype=bool)
    order = np.argsort(values, kind="stable")
    values, is_right = values[order], is_right[order]
    parts = max(1, min(bins, len(values) // min_words))
    ends = [round(len(values) * (n + 1) / parts) for n in range(parts)]
    found, start, low = [], 0, 0.0
    for end in ends:
        if end <= start:  # equal confidences reached into the bin before
            continue
        end = int(np.searchsorted(values, values[end - 1], side="right"))
        high = 1.0 if end == len(values) else float(values[end - 1])
        found.append(_bin(low, high, values[start:end], is_right[start:end]))
        start, low = end, high
    return found


def _bin(
    low: float, high: float, confidences: NDArray[np.float64], right: NDArray[np.bool_]
) -> ReliabilityBin:
    count = len(right)
    mean = float(confidences.mean()) if count else 0.0
    share = float(right.mean()) if count else 0.0
    return ReliabilityBin(low, high, count, mean, share)


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """The expected calibration error, ECE (Naeini et al. 2015): the mean distance of confidence and
    accuracy over the bins, weighted by their words; 0 without words.
    """
    total = sum(each.count for each in bins)
    distances = sum(each.count * abs(each.confidence - each.accuracy) for each in bins)
    return distances / total if total else 0.0
