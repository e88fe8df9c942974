"""The figures of a set of utterances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from asr.scoring import (
    ErrorCounts,
    ReliabilityBin,
    bootstrap_interval,
    calibration_error,
    reliability,
    reliability_by_count,
)
from recipes.common.evaluate.scored import Scored

__all__ = ["Totals", "groups_of", "reliability_of", "total_scores"]


@dataclass(frozen=True)
class Totals:
    """What is said of a set of utterances.

    Attributes:
        speakers: how many are known by name.
        low: end of the error rate's 95 % interval.
        high: end of the interval.
        drawn: what the interval is over: ``"speaker"`` or ``"utterance"``.
        nist_errors: the errors on the path that NIST's sclite takes.
        oracle: the errors of the least wrong of the N best hypotheses.
        nbest: hypotheses an utterance has on average.
        bins: the words by their confidence.
        audio: seconds.
    """

    utterances: int
    unrecognised: int
    speakers: int
    errors: ErrorCounts
    token_errors: ErrorCounts
    nist_errors: ErrorCounts
    low: float
    high: float
    drawn: str
    oracle: ErrorCounts
    nbest: float
    bins: Sequence[ReliabilityBin]
    audio: float

    @property
    def calibration_error(self) -> float:
        """Of the words' confidences."""
        return calibration_error(self.bins)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **asdict(self),
            "error_rate": self.errors.rate,
            "token_error_rate": self.token_errors.rate,
            "oracle_error_rate": self.oracle.rate,
            "calibration_error": self.calibration_error,
        }


def total_scores(scored: Sequence[Scored]) -> Totals:
    """Add up ``scored``, one at least."""
    groups, drawn = groups_of([(s.id, s.speaker) for s in scored])
    errors = [s.errors for s in scored]
    low, high = bootstrap_interval(errors, groups)
    return Totals(
        utterances=len(scored),
        unrecognised=sum(not s.recognised for s in scored),
        speakers=len({s.speaker for s in scored} - {None}),
        errors=sum(errors, ErrorCounts()),
        token_errors=sum((s.token_errors for s in scored), ErrorCounts()),
        nist_errors=sum((s.nist_errors for s in scored), ErrorCounts()),
        low=low,
        high=high,
        drawn=drawn,
        oracle=sum((s.oracle for s in scored), ErrorCounts()),
        nbest=sum(len(s.nbest) for s in scored) / len(scored),
        bins=reliability(*_confidences(scored)),
        audio=sum(s.seconds for s in scored),
    )


def reliability_of(scored: Sequence[Scored]) -> list[ReliabilityBin]:
    """The words of ``scored`` by their confidence, in bins of as many words each."""
    return reliability_by_count(*_confidences(scored))


def _confidences(scored: Sequence[Scored]) -> tuple[list[float], list[bool]]:
    """Of each word heard, how sure the decoder is, and whether it was said."""
    return (
        [word.confidence for s in scored for word in s.words],
        [right for s in scored for right in s.right],
    )


def groups_of(utterances: Sequence[tuple[str, str | None]]) -> tuple[list[str] | None, str]:
    """What a bootstrap draws, and its name: ``(id, speaker)`` pairs by speaker, or utterances.

    Utterances where there is one speaker, or where none is known: that the next speaker is like
    this one cannot be told. Who is not named counts as a speaker of their own.
    """
    groups = [f"speaker {speaker}" if speaker else f"id {name}" for name, speaker in utterances]
    if len(set(groups)) > 1 and any(speaker for _, speaker in utterances):
        return groups, "speaker"
    return None, "utterance"
