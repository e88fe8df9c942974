"""``python -m recipes.an4 prepare|fit|evaluate|export``."""

import sys

from recipes.an4.corpus import TITLE, utterances
from recipes.common.cli import main
from recipes.common.metric import WER
from recipes.common.recipe import Recipe

RECIPE = Recipe(name="an4", title=TITLE, utterances=utterances, token_kind="characters", metric=WER)

if __name__ == "__main__":
    sys.exit(main(RECIPE))
