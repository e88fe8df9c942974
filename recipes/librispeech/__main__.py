"""``python -m recipes.librispeech prepare|fit|evaluate|export``."""

import sys

from recipes.common.cli import main
from recipes.common.metric import WER
from recipes.common.recipe import Recipe
from recipes.librispeech.corpus import TITLE, utterances

RECIPE = Recipe(
    name="librispeech", title=TITLE, utterances=utterances, token_kind="characters", metric=WER
)

if __name__ == "__main__":
    sys.exit(main(RECIPE))
