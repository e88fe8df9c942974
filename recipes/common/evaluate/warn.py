"""What makes an error rate mislead: speech of training, and letters of another case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lhotse.cut import Cut

from asr.scoring import ErrorCounts
from recipes.common.data import manifest_path
from recipes.common.evaluate.scored import Scored
from recipes.common.metric import Metric
from recipes.common.trained_on import trained_utterances

__all__ = ["case_warning", "training_warnings"]

TRAIN = "train"  # the split that nobody takes for a test
WORTH_TELLING = 0.1  # of the error rate
UPPER, LOWER, MIXED = "upper", "lower", "mixed"


def training_warnings(data: Path, splits: Mapping[str, Sequence[Cut]]) -> list[str]:
    """Which splits the model was trained on, in part; ``data`` is the folder that it knows."""
    known = {name: trained_utterances(data, cuts) for name, cuts in splits.items() if name != TRAIN}
    return [
        f"the model was trained on {len(ids)} of the {len(splits[name])} utterances of {name}, "
        f"such as {ids[0]} ({manifest_path(data, TRAIN)})"
        for name, ids in known.items()
        if ids
    ]


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
