"""Subsets of LibriSpeech are chosen by name."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from asr.types import CorpusError
from recipes.common.cli import main
from recipes.common.data import manifest_path
from recipes.common.manifests import read_manifest
from recipes.librispeech.__main__ import RECIPE
from recipes.librispeech.corpus import subsets, utterances

SPEAKERS = {  # of each subset; those of train-clean-5 are a part of those of train-clean-100
    "train-clean-5": ("19",),
    "train-clean-100": ("19", "26"),
    "train-other-500": ("20",),
    "dev-clean": ("84",),
    "dev-other": ("116",),
    "test-clean": ("61",),
}


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(0)
    for subset, speakers in SPEAKERS.items():
        for speaker in speakers:
            folder = tmp_path / "LibriSpeech" / subset / speaker / "1"
            folder.mkdir(parents=True)
            name = f"{speaker}-1-0000"
            soundfile.write(folder / f"{name}.flac", rng.uniform(-0.1, 0.1, 8000), 16_000)
            (folder / f"{speaker}-1.trans.txt").write_text(f"{name} GO\n")
    return tmp_path / "LibriSpeech"


def prepare(corpus, tmp_path, *options) -> int:
    arguments = ["prepare", "--corpus", str(corpus), "--data", str(tmp_path / "data"), *options]
    return main(RECIPE, arguments)


def rows(tmp_path, split) -> dict[str, str]:
    """The subset of each utterance of a manifest."""
    cuts = read_manifest(manifest_path(tmp_path / "data", split))
    return {cut.id: cut.supervisions[0].custom["subset"] for cut in cuts}


def test_subsets_are_chosen_by_name_and_each_utterance_knows_its_own(corpus, tmp_path):
    options = ("--train", "train-clean-100,train-other-500", "--dev", "dev-clean, dev-other")
    assert prepare(corpus, tmp_path, *options) == 0
    assert rows(tmp_path, "train") == {
        "19-1-0000": "train-clean-100",
        "20-1-0000": "train-other-500",
        "26-1-0000": "train-clean-100",
    }
    assert rows(tmp_path, "dev") == {"116-1-0000": "dev-other", "84-1-0000": "dev-clean"}
    assert rows(tmp_path, "test") == {"61-1-0000": "test-clean"}


def test_without_names_all_that_is_there_is_taken(corpus, tmp_path):
    for subset in ("train-clean-100", "test-clean"):
        (corpus / subset).rename(tmp_path / subset)
    assert prepare(corpus, tmp_path) == 0
    assert set(rows(tmp_path, "train").values()) == {"train-clean-5", "train-other-500"}
    assert set(rows(tmp_path, "dev").values()) == {"dev-clean", "dev-other"}
    assert not manifest_path(tmp_path / "data", "test").exists()


def test_a_split_of_the_corpus_may_be_a_subset(corpus):
    assert [u.id for u in utterances(corpus, "dev-other")] == ["116-1-0000"]
    assert [u.id for u in utterances(corpus, "dev")] == ["116-1-0000", "84-1-0000"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "19-1-0000 is in both train-clean-100 and train-clean-5: one is a part of the other"),
        (("--train", "train-clean-360"), "no subset 'train-clean-360' here (choose of train-cl"),
        (("--train", "train-clean-5", "--dev", "train-clean-5"), "speaker 19 is in both train and"),
        (("--train", "train-clean-5,"), "'' names no subset"),
        (("--train", "../train-clean-5"), "names no subset"),
        (("--train", "train-clean-5,train-clean-5"), "train-clean-5 is named twice"),
    ],
)
def test_what_cannot_be_chosen_is_said_in_one_line(corpus, tmp_path, options, message, capsys):
    assert prepare(corpus, tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_a_subset_without_utterances_is_refused(corpus):
    (corpus / "test-other").mkdir()
    with pytest.raises(CorpusError, match="no utterances in the subset"):
        subsets(corpus, ["test-other"])
