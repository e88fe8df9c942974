"""What makes an error rate mislead: speech of training, and letters of another case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lhotse.cut import Cut

from asr.scoring.case import MIXED, case_of, cost_of_case
from recipes.common.data import manifest_path
from recipes.common.evaluate.scored import Scored
from recipes.common.metric import Metric
from recipes.common.trained_on import trained_utterances

__all__ = ["case_warning", "training_warnings"]

TRAIN = "train"  # the split that nobody takes for a test
WORTH_TELLING = 0.1  # of the error rate


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
    cost = cost_of_case(texts, metric.count)
    if not cost >= WORTH_TELLING:  # also where there are no words
        return None
    written, said = case_of(pair[1] for pair in texts), case_of(pair[0] for pair in texts)
    remedy = f": prepare with --case {written}" if can_prepare and written != MIXED else ""
    return (
        f"the model writes {written} case and the texts are {said} case, which is "
        f"{100 * cost:.1f} points of the {metric.name}{remedy}"
    )
