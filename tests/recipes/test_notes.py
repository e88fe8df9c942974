"""What a corpus says of its data and how it counts errors, from `prepare` to the last table."""

from dataclasses import replace
from pathlib import Path

import pytest

from asr.scoring import ErrorCounts
from asr.types import CorpusError
from recipes.common.cli import main
from recipes.common.corpus import Corpus
from recipes.common.metric import Metric
from recipes.common.prepare import PrepareOptions, prepare_corpus

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Lightning's own
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
]

WHY = "non-standard: dev has 6 utterances"


class Whole:
    """Reads the toy with an option: all tokens are given, or those of the texts."""

    def __init__(self, toy):
        self.toy = toy

    def add_options(self, part):
        part.add_argument("--where", type=str)
        part.add_argument("--more-tokens", action="store_true")

    def read(self, arguments):
        folder = Path(arguments.where)
        splits = {split: self.toy.utterances(folder, split) for split in ("train", "dev", "test")}
        splits["all"] = [*splits["dev"], *splits["test"]]
        tokens = "abc" if arguments.more_tokens else ""
        return Corpus(str(folder), splits, unions=("all",), tokens=tuple(tokens))


def lengths(splits):
    """A toy protocol: seven utterances to develop."""
    return WHY if len(splits.get("dev", range(7))) != 7 else None


@pytest.fixture
def recipe(toy):
    """The toy with a source, a protocol and a second way of scoring."""
    lenient = Metric("lenient", lambda reference, hypothesis: ErrorCounts(reference_length=1))
    return replace(toy.recipe(), source=Whole(toy), note=lengths, scorings={"lenient": lenient})


def test_a_note_reaches_every_table_and_the_scoring_can_be_chosen(recipe, toy, tmp_path, capsys):
    data, run, corpus = (str(tmp_path / name) for name in ("data", "run", "corpus"))
    assert main(recipe, ["prepare", "--data", data, "--where", corpus, "--more-tokens"]) == 0
    assert WHY in capsys.readouterr().out
    assert "c" in (tmp_path / "data" / "tokens.txt").read_text()
    options = [*toy.where(tmp_path / "data", tmp_path / "run"), *toy.OPTIONS]
    assert main(recipe, ["fit", *options, "--trainer.max_epochs", "1"]) == 0
    assert WHY in capsys.readouterr().out
    for where in (["--data", data], ["--data", data + "-none", "--corpus", corpus]):
        assert main(recipe, ["evaluate", "--run", run, *where]) == 0
        assert WHY in (told := capsys.readouterr().out)
        assert "lenient" not in told
    where = ["--run", run, "--data", data + "-none", "--corpus", corpus, "--split", "test"]
    assert main(recipe, ["evaluate", *where, "--scoring", "lenient"]) == 0
    assert WHY not in (told := capsys.readouterr().out)
    assert "lenient" in told


def test_a_union_shares_speakers_with_all_but_the_training_part(recipe, toy, tmp_path):
    splits = {split: toy.utterances(tmp_path, split) for split in ("train", "dev")}
    for held, unions in (("dev", ()), ("train", ("all",))):
        corpus = Corpus("", {**splits, "all": splits[held]}, unions=unions)
        with pytest.raises(CorpusError, match=f"both {held} and all"):
            prepare_corpus(recipe, corpus, tmp_path / "data", PrepareOptions())
    corpus = Corpus("", {"all": splits["dev"], **splits}, unions=("all",))
    prepare_corpus(recipe, corpus, tmp_path / "data", PrepareOptions())
