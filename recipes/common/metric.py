"""The error rate by which a recipe chooses its best model and prints its results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asr.scoring import ErrorCounts, word_errors

__all__ = ["PER", "WER", "Metric"]


@dataclass(frozen=True)
class Metric:
    """A named count of errors between a reference and a hypothesis, both as text.

    Attributes:
        name: heads the tables.
        count: the errors.
        symbols: what is compared, of a text; None for the recipe's tokens.
        convention: how errors are counted, where that has to be said.
        optional: symbols of a reference whose absence ``count`` forgives as ``sclite -D`` does.
    """

    name: str
    count: Callable[[str, str], ErrorCounts]
    symbols: Callable[[str], list[str]] | None = None
    convention: str | None = None
    optional: tuple[str, ...] = ()


WER = Metric("WER", word_errors)
PER = Metric("PER", word_errors)  # of texts whose words are phones
