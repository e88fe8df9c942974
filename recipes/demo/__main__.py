"""``python -m recipes.demo``: the whole path in one go; with a command, that step alone.

``--open`` opens a page to speak to the model that ships; with ``--port`` elsewhere than at 8080.
"""

import argparse
import sys
from collections.abc import Sequence

from recipes.common.cli import main, run_guarded
from recipes.common.metric import WER
from recipes.common.recipe import Recipe
from recipes.demo.corpus import TITLE, synthesise, utterances
from recipes.demo.page import PORT, open_page
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


def run(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    if not arguments:
        return run_guarded(lambda: tour(RECIPE))
    if "--open" not in arguments:
        return main(RECIPE)
    parser = argparse.ArgumentParser(prog="python -m recipes.demo")
    parser.add_argument("--open", action="store_true", required=True)
    parser.add_argument("--port", type=int, default=PORT)
    port = parser.parse_args(arguments).port
    return run_guarded(lambda: open_page(RECIPE.paths.root, port))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
