"""``python -m recipes.demo``: the whole path in one go; with a command, that step alone."""

import sys

from recipes.common.cli import main, run_guarded
from recipes.common.metric import WER
from recipes.common.recipe import Recipe
from recipes.demo.corpus import TITLE, synthesise, utterances
from recipes.demo.tour import tour

RECIPE = Recipe(
    name="demo",
    title=TITLE,
    utterances=utterances,
    token_kind="characters",
    metric=WER,
    splits=("train", "dev", "test"),
    obtain=synthesise,
)

if __name__ == "__main__":
    sys.exit(main(RECIPE) if len(sys.argv) > 1 else run_guarded(lambda: tour(RECIPE)))
