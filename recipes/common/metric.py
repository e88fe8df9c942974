"""The error rate by which a recipe chooses its best model and prints its results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asr.scoring import ErrorCounts, word_errors

__all__ = ["WER", "Metric"]


@dataclass(frozen=True)
class Metric:
    """A named count of errors between a reference and a hypothesis, both as text."""

    name: str
    count: Callable[[str, str], ErrorCounts]


WER = Metric("WER", word_errors)
