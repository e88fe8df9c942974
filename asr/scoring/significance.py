"""Whether one recogniser is better than another on the same utterances, or merely luckier."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from asr.scoring.edits import NIST_COSTS, ErrorCounts, align
from asr.scoring.intervals import draw_rates

__all__ = ["BootstrapDifference", "MatchedPairs", "bootstrap_difference", "matched_pairs"]

Tokens = Sequence[Hashable]

MIN_GOOD = 2  # tokens that both have right between two segments, as in NIST's sc_stats


@dataclass(frozen=True)
class MatchedPairs:
    """Result of the matched-pairs test.

    Attributes:
        segments: stretches of speech in which at least one of the two has an error.
        mean: of the differences of errors in a segment, the first system's less the second's.
        variance: of these differences.
        z: the mean over its standard error; 0 where all differences are alike.
        p: probability of a z at least this far from 0 if the two are equally good.
    """

    segments: int
    mean: float
    variance: float
    z: float
    p: float


@dataclass(frozen=True)
class BootstrapDifference:
    """Result of the paired bootstrap: of the first system's error rate less the second's.

    Attributes:
        low: end of the interval.
        high: end of the interval.
        second_better: share of the draws in which the second has fewer errors.
        first_better: share in which the first has.
    """

    low: float
    high: float
    second_better: float
    first_better: float


def matched_pairs(
    references: Sequence[Tokens], first: Sequence[Tokens], second: Sequence[Tokens]
) -> MatchedPairs:
    """The matched-pairs sentence-segment word error test, MAPSSWE (Gillick & Cox 1989).

    As NIST's sc_stats does it: segments are bounded by two tokens that both systems have right, and
    alignments are those of sclite.
    """
    differences = np.array(
        [
            one - other
            for reference, a, b in zip(references, first, second, strict=True)
            for one, other in _segments(reference, a, b)
        ],
        dtype=np.float64,
    )
    count = len(differences)
    mean = float(differences.mean()) if count else 0.0
    variance = float(differences.var(ddof=1)) if count > 1 else 0.0
    z = mean / math.sqrt(variance / count) if variance > 0.0 else 0.0
    return MatchedPairs(count, mean, variance, z, math.erfc(abs(z) / math.sqrt(2.0)))


def _segments(reference: Tokens, first: Tokens, second: Tokens) -> list[tuple[int, int]]:
    """Errors of both systems in each segment of an utterance.

    A segment goes from an error to the last one with fewer than MIN_GOOD right tokens between it
    and the next.
    """
    segments: list[tuple[int, int]] = []
    good = MIN_GOOD
    slots = zip(_errors_by_slot(reference, first), _errors_by_slot(reference, second), strict=True)
    for number, (one, other) in enumerate(slots):
        is_gap = number % 2 == 0
        if one or other:
            if good >= MIN_GOOD:
                segments.append((0, 0))
            segments[-1] = (segments[-1][0] + one, segments[-1][1] + other)
            good = 0
        elif not is_gap:
            good += 1
    return segments


def _errors_by_slot(reference: Tokens, hypothesis: Tokens) -> list[int]:
    """Errors in each gap between reference tokens and at each token, in turns: 2 R + 1 numbers."""
    errors = [0] * (2 * len(reference) + 1)
    gap = 0
    for i, j in align(reference, hypothesis, NIST_COSTS):
        if i < 0:
            errors[gap] += 1
        else:
            errors[2 * i + 1] = int(j < 0 or reference[i] != hypothesis[j])
            gap = 2 * i + 2
    return errors


def bootstrap_difference(
    first: Sequence[ErrorCounts],
    second: Sequence[ErrorCounts],
    groups: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> BootstrapDifference:
    """Confidence interval of the difference of two error rates by the paired bootstrap.

    Bisani & Ney (2004), section 3. Both systems are scored on the same draws of ``groups``
    (speakers), or of utterances where there are none.
    """
    if not first:
        return BootstrapDifference(0.0, 0.0, 0.0, 0.0)
    one, other = draw_rates([first, second], groups, draws=draws, seed=seed)
    low, high = np.quantile(one - other, [(1 - level) / 2, (1 + level) / 2])
    return BootstrapDifference(
        float(low), float(high), float((other < one).mean()), float((one < other).mean())
    )
