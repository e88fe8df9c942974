"""``python -m recipes.custom prepare|fit|evaluate|export``."""

import sys

from recipes.common.cli import main
from recipes.common.metric import WER
from recipes.common.recipe import Recipe
from recipes.custom.source import Source

RECIPE = Recipe(
    name="custom",
    title="one's own recordings",
    utterances=None,
    token_kind="characters",
    metric=WER,
    source=Source(),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE))
