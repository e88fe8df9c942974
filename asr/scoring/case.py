"""What letters of another case cost: texts in capitals compared with texts in small letters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from asr.scoring.edits import ErrorCounts

__all__ = ["MIXED", "OtherCase", "other_case"]

WORTH_TELLING = 0.1  # of the error rate
UPPER, LOWER, MIXED = "upper", "lower", "mixed"


class OtherCase(NamedTuple):
    """That texts and model differ in case: what the model writes, and how to say it."""

    written: str
    message: str


def other_case(
    pairs: Sequence[tuple[str, str]], count: Callable[[str, str], ErrorCounts], rate: str
) -> OtherCase | None:
    """Whether a good part of the error ``rate`` of ``pairs`` of reference and hypothesis is due to
    case; None where little is, or there are no words."""
    if all(text == text.casefold() for pair in pairs for text in pair):
        return None
    errors = sum((count(*pair) for pair in pairs), ErrorCounts())
    folded = sum((count(*map(str.casefold, pair)) for pair in pairs), ErrorCounts())
    cost = errors.rate - folded.rate
    if not cost >= WORTH_TELLING:
        return None
    said, written = (_case_of(texts) for texts in zip(*pairs, strict=True))
    return OtherCase(
        written,
        f"the model writes {written} case and the texts are {said} case, which is "
        f"{100 * cost:.1f} points of the {rate}",
    )


def _case_of(texts: Iterable[str]) -> str:
    """The case of nearly all letters that have one: upper, lower or mixed."""
    letters = [letter for text in texts for letter in text if letter.upper() != letter.lower()]
    upper = sum(letter.isupper() for letter in letters) / max(1, len(letters))
    return UPPER if upper > 0.9 else LOWER if upper < 0.1 else MIXED
