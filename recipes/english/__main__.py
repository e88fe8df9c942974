"""The model that ships: ``python -m recipes.english prepare|fit|evaluate|ship|synthesise``."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from recipes.common.cli import main
from recipes.common.corpus import Corpus
from recipes.common.metric import WER
from recipes.common.recipe import Recipe
from recipes.english.corpus import CORPORA, DEV, TITLE, united
from recipes.english.ship import Ship
from recipes.english.synthetic import Synthesise


class Source:
    """The corpora whose folders are given."""

    def add_options(self, part: ArgumentParser) -> None:
        """Add an option for each to the command line."""
        for name in CORPORA:
            part.add_argument(
                f"--{name}", type=Path, metavar="FOLDER", help="default: without this corpus"
            )
        part.add_argument(
            "--more",
            action="store_true",
            help="once choosing is done: train on those of LibriSpeech's development speakers too "
            "who speak no sample that ships",
        )

    def read(self, arguments: Namespace) -> Corpus:
        """Return all splits.

        Raises:
            CorpusError: no folder is given, or one does not hold the corpus.
        """
        given = {name: getattr(arguments, name) for name in CORPORA}
        folders = {name: folder for name, folder in given.items() if folder is not None}
        where = ", ".join(map(str, folders.values()))
        return Corpus(where, united(folders, more=arguments.more), unions=(DEV,))


RECIPE = Recipe(
    name="english",
    title=TITLE,
    utterances=None,
    token_kind="characters",
    metric=WER,
    splits=("train", DEV),
    source=Source(),
    commands={"ship": Ship(), "synthesise": Synthesise()},
)

if __name__ == "__main__":
    sys.exit(main(RECIPE))
