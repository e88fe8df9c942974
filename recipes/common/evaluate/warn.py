"""What makes an error rate mislead: speech of training, and letters of another case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lhotse.cut import Cut

from asr.scoring.case import MIXED, other_case
from recipes.common.data import manifest_path
from recipes.common.evaluate.scored import Scored
from recipes.common.metric import Metric
from recipes.common.trained_on import trained_utterances

__all__ = ["case_warning", "training_warnings"]

TRAIN = "train"  # the split that nobody takes for a test


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
    found = other_case(texts, metric.count, metric.name)
    if found is None:
        return None
    has_remedy = can_prepare and found.written != MIXED
    return found.message + (f": prepare with --case {found.written}" if has_remedy else "")
