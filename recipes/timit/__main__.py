"""``python -m recipes.timit prepare|fit|evaluate|export``."""

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace

from recipes.common.cli import main
from recipes.common.corpus import Corpus, add_corpus_option
from recipes.common.prepare import read_split
from recipes.common.recipe import Recipe
from recipes.timit.corpus import TITLE, Reading, splits_of
from recipes.timit.phones import PHONES
from recipes.timit.protocol import note_on_cuts
from recipes.timit.scoring import PER, SCORINGS


class Source:
    """TIMIT as the options of ``prepare`` say."""

    def add_options(self, part: ArgumentParser) -> None:
        """Add them to the command line."""
        add_corpus_option(part, TITLE)
        part.add_argument(
            "--labels",
            type=int,
            choices=tuple(PHONES),
            default=48,
            help="phones to train on; error rates fold them to 39 (default: 48)",
        )
        part.add_argument(
            "--dev",
            choices=("test", "train"),
            default="test",
            help="develop on 50 speakers of the test part, as is usual, or on 5 %% of those of "
            "the training part",
        )
        part.add_argument(
            "--keep-sa",
            action="store_true",
            help="keep the sentences SA1 and SA2, which every speaker reads",
        )

    def read(self, arguments: Namespace) -> Corpus:
        """Return all splits.

        Raises:
            CorpusError: the folder is not TIMIT, or a file is missing or broken.
        """
        folder = arguments.corpus
        reading = Reading(arguments.labels, arguments.dev, arguments.keep_sa)
        recipe = replace(RECIPE, utterances=reading.utterances)
        splits = {split: read_split(recipe, folder, split) for split in splits_of(folder)}
        tokens = PHONES[reading.labels]
        return Corpus(str(folder), splits, unions=("test-complete",), tokens=tokens)


RECIPE = Recipe(
    name="timit",
    title=TITLE,
    utterances=Reading(labels=61).utterances,  # which every scoring folds as it needs
    token_kind="phones",
    metric=PER,
    source=Source(),
    note=note_on_cuts,
    scorings=SCORINGS,
)

if __name__ == "__main__":
    sys.exit(main(RECIPE))
