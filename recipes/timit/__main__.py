"""``python -m recipes.timit prepare|fit|evaluate|export``."""

import sys

from asr.scoring import ErrorCounts, token_errors
from recipes.common.cli import main
from recipes.common.metric import Metric
from recipes.common.recipe import Recipe
from recipes.timit.corpus import TITLE, utterances
from recipes.timit.phones import fold39


def phone_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Errors over the 39 classes in which TIMIT is scored (Lee & Hon 1989)."""
    return token_errors(fold39(reference.split()), fold39(hypothesis.split()))


RECIPE = Recipe(
    name="timit",
    title=TITLE,
    utterances=utterances,
    token_kind="phones",
    metric=Metric("PER", phone_errors),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE))
