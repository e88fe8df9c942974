"""The counts of the published protocol, and what is said of data that differ."""

from dataclasses import replace
from pathlib import Path

import pytest

from recipes.common.cli import main
from recipes.common.manifests import Utterance
from recipes.timit.__main__ import RECIPE
from recipes.timit.corpus import CORE_TEST, DEVELOPMENT
from recipes.timit.protocol import departures, note

SA, SX = ("sa1", "sa2"), ("sx1", "sx2", "sx3", "sx4", "sx5", "si1", "si2", "si3")


def spoken(speakers, phones=0, sentences=SX):
    """All sentences of ``speakers``; ``phones`` in all, where that is given."""
    found = [
        Utterance(f"{speaker}-{name}", Path(f"/TIMIT/TRAIN/DR1/X/{name}.wav"), "aa", speaker)
        for speaker in speakers
        for name in sentences
    ]
    if phones:
        change(found, 0, " ".join(["aa"] * (phones - len(found) + 1)))
    return found


def change(utterances, place, text):
    utterances[place] = replace(utterances[place], text=text)


TRAIN = [f"train{n}" for n in range(462)]
REST = sorted(DEVELOPMENT | CORE_TEST) + [f"rest{n}" for n in range(94)]


@pytest.fixture
def published():
    """Splits as LDC's disc has them: speakers, sentences, phones."""
    return {
        "train": spoken(TRAIN),
        "dev": spoken(sorted(DEVELOPMENT), 15_057),
        "test": spoken(sorted(CORE_TEST), 7_215),
        "test-complete": spoken(REST),
    }


def test_the_published_data_have_no_note(published):
    sizes = {split: len(spoken_in) for split, spoken_in in published.items()}
    assert sizes == {"train": 3_696, "dev": 400, "test": 192, "test-complete": 1_344}
    assert note(published) is None
    for split, cuts in published.items():  # as `evaluate --corpus` reads them
        assert note({split: cuts}) is None


@pytest.mark.parametrize("split", ["train", "dev", "test", "test-complete"])
def test_a_missing_sentence_is_said(published, split):
    published[split].pop()
    (reason,) = departures(published)
    assert reason.startswith(f"{split}: ")
    assert note(published) == f"non-standard: {reason}"


def test_other_phones_of_the_core_test_are_said(published):
    change(published["test"], 3, "sil q aa")  # one more; q counts as none
    assert departures(published) == ["test: 7,216 phones of 39 classes, not 7,215"]


def test_labels_make_no_difference_to_the_count_of_phones(published):
    for place, text in ((3, "kcl"), (4, "vcl"), (5, "q h#")):
        change(published["test"], place, text)
    assert note(published) is None


def test_options_are_said(published):
    with_sa = {"dev": spoken(sorted(DEVELOPMENT), sentences=SX + SA)}
    assert departures(with_sa) == ["with the sentences SA1 and SA2"]
    drawn = {
        **published,
        "train": spoken(TRAIN[:439]),
        "dev": spoken(TRAIN[439:]),
    }
    assert departures(drawn) == ["development speakers of the training part"]


def test_the_note_reaches_the_table_and_the_sample_is_called_by_its_name(
    write_timit, shared_data, tmp_path, capsys
):
    for corpus, said in (
        (write_timit(), "train: 8 utterances by 4 speakers, not 3,696 by 462"),
        (shared_data("timit_sample"), "the free sample of TIMIT"),
    ):
        where = ["--corpus", str(corpus), "--data", str(tmp_path / "data")]
        assert main(RECIPE, ["prepare", *where]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert "non-standard: " in told
        assert said in told
