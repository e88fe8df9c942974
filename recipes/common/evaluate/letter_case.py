"""Whether an error rate is one of upper and lower case alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asr.scoring import ErrorCounts
from recipes.common.evaluate.scored import Scored
from recipes.common.metric import Metric

__all__ = ["case_warning"]

WORTH_TELLING = 0.1  # of the error rate
UPPER, LOWER, MIXED = "upper", "lower", "mixed"


def case_warning(metric: Metric, scored: Sequence[Scored], *, can_prepare: bool) -> str | None:
    """What to say where much of the error rate is due to case; None where little is.

    Args:
        metric: by which errors were counted.
        scored: the utterances.
        can_prepare: whether `prepare` has an option for the case of texts.
    """
    texts = [(each.reference, each.hypothesis) for each in scored]
    if all(text == text.casefold() for pair in texts for text in pair):
        return None
    errors = sum((each.errors for each in scored), ErrorCounts())
    folded = sum((metric.count(*map(str.casefold, pair)) for pair in texts), ErrorCounts())
    if not errors.rate - folded.rate >= WORTH_TELLING:  # also where there are no words
        return None
    written, said = _case(pair[1] for pair in texts), _case(pair[0] for pair in texts)
    remedy = f": prepare with --case {written}" if can_prepare and written != MIXED else ""
    return (
        f"the model writes {written} case and the texts are {said} case, which is "
        f"{100 * (errors.rate - folded.rate):.1f} points of the {metric.name}{remedy}"
    )


def _case(texts: Iterable[str]) -> str:
    """The case of nearly all letters that have one."""
    letters = [letter for text in texts for letter in text if letter.upper() != letter.lower()]
    upper = sum(letter.isupper() for letter in letters) / max(1, len(letters))
    return UPPER if upper > 0.9 else LOWER if upper < 0.1 else MIXED
