"""What a corpus adds to the common recipe."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lhotse.cut import Cut

from recipes.common.corpus import Corpus
from recipes.common.manifests import Utterance
from recipes.common.metric import PER, Metric
from recipes.common.normaliser import TextOptions
from recipes.common.units.options import UnitOptions

__all__ = ["Command", "CorpusSource", "Recipe", "RunPaths"]


class UtteranceReader(Protocol):
    """Reads one split (train, dev or test) of a corpus in its published layout."""

    def __call__(self, corpus: Path, split: str) -> list[Utterance]:
        """Return the split's utterances, or raise CorpusError."""
        ...


class CorpusSource(Protocol):
    """Reads a corpus as the options of ``prepare`` say, in the place of a folder and its splits."""

    def add_options(self, part: ArgumentParser) -> None:
        """Add those options to the command line of ``prepare``."""
        ...

    def read(self, arguments: Namespace) -> Corpus:
        """Return the corpus, or raise CorpusError."""
        ...


class Command(Protocol):
    """A command that one recipe has beside the common ones; ``help`` is what it does."""

    help: str

    def add_options(self, part: ArgumentParser) -> None:
        """Add its options to the command line."""
        ...

    def run(self, recipe: Recipe, arguments: Namespace) -> None:
        """Do it, or raise AsrError."""
        ...


@dataclass(frozen=True)
class Recipe:
    """A corpus for the common commands.

    Attributes:
        name: the folder under ``recipes/``.
        title: the corpus in words.
        utterances: reads a split of the corpus; None where ``source`` alone can.
        token_kind: ``"characters"`` or ``"phones"``.
        metric: chooses the best checkpoint and heads the tables.
        splits: the splits that ``prepare`` writes.
        units: what ``prepare`` makes of texts, unless its options say otherwise; None for
            characters.
        text: the form that ``prepare`` gives to texts, unless its options say otherwise.
        obtain: makes the corpus where it is not given by the user.
        source: reads a corpus of any layout, or with options of its own, and divides it.
        note: what readers of error rates must know of the cuts of some splits, if anything.
        scorings: other ways to count errors, by name, for ``evaluate``.
        commands: commands of its own, by name.
    """

    name: str
    title: str
    utterances: UtteranceReader | None
    token_kind: str
    metric: Metric
    splits: tuple[str, ...] = ("train", "dev")
    units: Callable[[Namespace], UnitOptions] | None = None
    text: TextOptions = field(default_factory=TextOptions)
    obtain: Callable[[Path], None] | None = None
    source: CorpusSource | None = None
    note: Callable[[Mapping[str, Sequence[Cut]]], str | None] = lambda cuts: None
    scorings: Mapping[str, Metric] = field(default_factory=dict)
    commands: Mapping[str, Command] = field(default_factory=dict)

    def metric_of(self, kind: str) -> Metric:
        """What texts in tokens of that kind are scored by, where nothing makes words of them."""
        return PER if kind == "phones" and self.token_kind != "phones" else self.metric

    @property
    def config(self) -> Path:
        """The default training configuration."""
        return Path(__file__).parents[1] / self.name / "config.yaml"

    @property
    def paths(self) -> RunPaths:
        """Default places for everything the recipe writes."""
        return RunPaths(Path("exp") / self.name)


@dataclass(frozen=True)
class RunPaths:
    """Where a recipe writes, all under one folder."""

    root: Path

    @property
    def corpus(self) -> Path:
        """A corpus that the recipe makes itself."""
        return self.root / "corpus"

    @property
    def data(self) -> Path:
        """Manifests and the token list."""
        return self.root / "data"

    @property
    def run(self) -> Path:
        """Checkpoints, configuration and TensorBoard logs of a training run."""
        return self.root / "run"

    @property
    def bundle(self) -> Path:
        """The exported model."""
        return self.root / "bundle"
