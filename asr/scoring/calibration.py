"""Whether confidences mean something: of words said with 0.9, nine in ten are right."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from asr.scoring.edits import align

__all__ = ["ReliabilityBin", "calibration_error", "reliability", "right_tokens"]


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
    found = []
    for number in range(bins):
        inside = numbers == number
        count = int(inside.sum())
        mean = float(values[inside].mean()) if count else 0.0
        share = float(is_right[inside].mean()) if count else 0.0
        found.append(ReliabilityBin(number / bins, (number + 1) / bins, count, mean, share))
    return found


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """The expected calibration error, ECE (Naeini et al. 2015): the mean distance of confidence and
    accuracy over the bins, weighted by their words; 0 without words.
    """
    total = sum(each.count for each in bins)
    distances = sum(each.count * abs(each.confidence - each.accuracy) for each in bins)
    return distances / total if total else 0.0
