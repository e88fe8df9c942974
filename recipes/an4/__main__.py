"""``python -m recipes.an4 prepare|fit|evaluate|export``."""

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path

from recipes.an4.corpus import FOLDS, TITLE, utterances
from recipes.common.cli import main
from recipes.common.corpus import Corpus, add_corpus_option
from recipes.common.metric import WER
from recipes.common.prepare import read_split
from recipes.common.recipe import Recipe
from recipes.common.units.options import OF_LEXICONS, UnitOptions

LETTERS = Path(__file__).with_name("letters.dict")  # A is more often a letter than an article


def units(arguments: Namespace) -> UnitOptions:
    """Phones by the dictionary that comes with the corpus; characters where it is missing."""
    dictionary = arguments.corpus / "etc" / "an4.dic"
    if not dictionary.is_file():
        return UnitOptions()
    return UnitOptions("phones", lexicons=(str(LETTERS), str(dictionary)), words=OF_LEXICONS)


class Source:
    """AN4 with a choice of the speakers who are held out for development."""

    def add_options(self, part: ArgumentParser) -> None:
        """Add it to the command line."""
        add_corpus_option(part, TITLE)
        part.add_argument(
            "--fold",
            type=int,
            choices=range(FOLDS),
            default=0,
            help="which speakers to develop on; each is in one fold (default: 0)",
        )

    def read(self, arguments: Namespace) -> Corpus:
        """Return train and dev.

        Raises:
            CorpusError: the folder is not AN4, or a file is missing or broken.
        """
        recipe = replace(RECIPE, utterances=partial(utterances, fold=arguments.fold))
        splits = {split: read_split(recipe, arguments.corpus, split) for split in RECIPE.splits}
        return Corpus(str(arguments.corpus), splits)


RECIPE = Recipe(
    name="an4",
    title=TITLE,
    utterances=utterances,
    token_kind="characters",
    metric=WER,
    units=units,
    source=Source(),
)

if __name__ == "__main__":
    sys.exit(main(RECIPE))
