"""What letters of another case cost: texts in capitals compared with texts in small letters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from asr.scoring.edits import ErrorCounts

__all__ = ["MIXED", "case_of", "cost_of_case"]

UPPER, LOWER, MIXED = "upper", "lower", "mixed"


def cost_of_case(
    pairs: Sequence[tuple[str, str]], count: Callable[[str, str], ErrorCounts]
) -> float:
    """How much lower the error rate of ``pairs`` of reference and hypothesis is without case."""
    if all(text == text.casefold() for pair in pairs for text in pair):
        return 0.0
    errors = sum((count(*pair) for pair in pairs), ErrorCounts())
    folded = sum((count(*map(str.casefold, pair)) for pair in pairs), ErrorCounts())
    return errors.rate - folded.rate


def case_of(texts: Iterable[str]) -> str:
    """The case of nearly all letters that have one: upper, lower or mixed."""
    letters = [letter for text in texts for letter in text if letter.upper() != letter.lower()]
    upper = sum(letter.isupper() for letter in letters) / max(1, len(letters))
    return UPPER if upper > 0.9 else LOWER if upper < 0.1 else MIXED
