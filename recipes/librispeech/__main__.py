"""``python -m recipes.librispeech download|prepare|fit|evaluate|export``."""

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace

from asr.types import CorpusError
from recipes.common.cli import main
from recipes.common.corpus import Corpus, add_corpus_option
from recipes.common.metric import WER
from recipes.common.prepare import read_split
from recipes.common.recipe import Recipe
from recipes.librispeech.corpus import SPLITS, TITLE, found_subsets, subsets, utterances
from recipes.librispeech.download import Download

EXAMPLES = {
    "train": "train-clean-100,train-clean-360",
    "dev": "dev-clean",
    "test": "test-clean,test-other",
}


class Source:
    """LibriSpeech's subsets as the options of ``prepare`` name them."""

    def add_options(self, part: ArgumentParser) -> None:
        """Add them to the command line."""
        add_corpus_option(part, TITLE)
        for split, example in EXAMPLES.items():
            part.add_argument(
                f"--{split}",
                metavar="SUBSET,…",
                help=f"such as {example} (default: all {split}-* that are there)",
            )

    def read(self, arguments: Namespace) -> Corpus:
        """Return train, dev, and test where it is named or there.

        Raises:
            CorpusError: a subset is missing or damaged, or named twice.
        """
        folder, splits = arguments.corpus, {}
        for split in SPLITS:
            named = getattr(arguments, split)
            if named is None and split == "test" and not found_subsets(folder, split):
                continue
            names = _names(named)
            chosen = RECIPE if not names else replace(RECIPE, utterances=_reader(names))
            splits[split] = read_split(chosen, folder, split)
        return Corpus(str(folder), splits)


def _reader(names: list[str]):
    return lambda corpus, split: subsets(corpus, names)


def _names(named: str | None) -> list[str]:
    """The subsets of an option, none for those that are there."""
    if named is None:
        return []
    names = [name.strip() for name in named.split(",")]
    for name in names:
        if not name or "/" in name or name.startswith("."):
            raise CorpusError(f"{name!r} names no subset", remedy="give names, or NAME,NAME")
        if names.count(name) > 1:
            raise CorpusError(f"{name} is named twice", remedy="name each subset once")
    return names


RECIPE = Recipe(
    name="librispeech",
    title=TITLE,
    utterances=utterances,
    token_kind="characters",
    metric=WER,
    source=Source(),
    commands={"download": Download()},
)

if __name__ == "__main__":
    sys.exit(main(RECIPE))
