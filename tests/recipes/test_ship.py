"""The model that ships: made by one command from a run, with a card whose figures are true."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest
import torch

from asr.bundle import load_bundle, save_bundle
from asr.recognizer import Recognizer
from asr.scoring import ErrorCounts, word_errors
from recipes.common.audio import load_samples
from recipes.common.cli import main
from recipes.common.data import manifest_path
from recipes.common.manifests import read_manifest
from recipes.english.__main__ import RECIPE

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice


def with_field(source, target, name, value_of, wrong=0):
    """The manifest ``source``, whose utterances have one more field, as ``target``.

    The texts of the first are not what is said.
    """
    with gzip.open(source, "rt") as old, gzip.open(target, "wt") as new:
        for number, line in enumerate(old):
            cut = json.loads(line)
            cut["supervisions"][0].setdefault("custom", {})[name] = value_of(number)
            if number < wrong:
                cut["supervisions"][0]["text"] = "abababab"
            new.write(json.dumps(cut) + "\n")


@pytest.fixture(scope="module")
def data(toy_data, tmp_path_factory):
    """Held-out parts of two corpora, the second with children and adults."""
    folder = tmp_path_factory.mktemp("english") / "data"
    shutil.copytree(toy_data, folder)
    train, dev = (manifest_path(toy_data, split) for split in ("train", "dev"))
    with_field(train, manifest_path(folder, "train"), "corpus", lambda _: "librispeech")
    shutil.copy(dev, manifest_path(folder, "dev-librispeech"))
    ages = ("9", "30", "9", "30", "9", "30")
    with_field(dev, manifest_path(folder, "dev-speechocean"), "age", ages.__getitem__, wrong=2)
    return folder


@pytest.fixture(scope="module")
def shipped(toy, data):
    """The folder that `ship` makes of a run, where samples lie already."""
    run, output = data.parent / "run", data.parent / "models" / "english"
    assert toy.fit(data, run, "--trainer.max_epochs", "3") == 0
    (output / "samples").mkdir(parents=True)
    (output / "samples" / "a.flac").write_bytes(b"a sample")
    (output / "lm.compact").write_bytes(b"of the model before")
    assert ship(data, output) == 0
    return output


def ship(data, output, *more):
    folders = ("--run", data.parent / "run", "--data", data, "--output", output)
    return main(RECIPE, [*map(str, ("ship", *folders)), "--decoder", "greedy", *more])


def test_the_bundle_is_small_calibrated_and_alone_with_its_card_and_samples(shipped):
    bundle = load_bundle(shipped)
    assert bundle.half
    assert set(bundle.calibrations) == {"greedy"}
    assert (shipped / "samples" / "a.flac").read_bytes() == b"a sample"
    assert not (shipped / "lm.compact").exists()
    assert (shipped / "reliability.png").read_bytes().startswith(b"\x89PNG")


def rows(shipped):
    """The card's table of error rates: utterances, speakers and rate by speech."""
    text = (shipped / "README.md").read_text()
    table = text.partition("| speech |")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    return {name: (count, speakers, rate) for name, count, speakers, rate, *_ in cells}


def test_the_cards_rates_are_those_of_the_bundle(shipped, data):
    recognizer = Recognizer.load(shipped)

    def rates(split):
        """Of all utterances, of the even ones and of the odd ones."""
        cuts = list(read_manifest(manifest_path(data, split)))
        heard = recognizer.recognize([load_samples(cut) for cut in cuts])
        texts = [(cut.supervisions[0].text, t.text) for cut, t in zip(cuts, heard, strict=True)]
        errors = [word_errors(*pair) for pair in texts]
        parts = (errors, errors[::2], errors[1::2])
        return [f"{100 * sum(part, ErrorCounts()).rate:.1f}" for part in parts]

    every, children, adults = rates("dev-speechocean")
    assert list(rows(shipped).values()) == [
        ("6", "2", rates("dev-librispeech")[0]),
        ("6", "2", every),
        ("3", "1", adults),
        ("3", "1", children),
    ]
    assert every != rates("dev-librispeech")[0]


def test_no_place_of_the_machine_is_told(shipped, data):
    for name in ("README.md", "training.yaml", "config.json"):
        assert str(data.parent) not in (shipped / name).read_text(), name


def test_its_options_train_again(shipped, toy, data, tmp_path):
    how = ("--config", str(shipped / "training.yaml"), "--trainer.max_epochs", "1")
    assert main(toy.recipe(), ["fit", *how, *toy.where(data, tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()


def test_a_folder_of_something_else_is_left_alone(shipped, data, tmp_path, capsys):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    assert ship(data, tmp_path / "letters") == 2
    assert "something other than a model" in capsys.readouterr().err
    assert (tmp_path / "letters" / "a.txt").read_text() == "dear"


def test_weights_may_be_the_mean_of_two_models(shipped, data, tmp_path):
    start = load_bundle(shipped)
    with torch.no_grad():
        start.model.output.bias += 1.0
    save_bundle(start, tmp_path / "start")
    assert ship(data, tmp_path / "mean", "--mean-with", str(tmp_path / "start")) == 0
    before, found = (load_bundle(path).model for path in (shipped, tmp_path / "mean"))
    moved = found.output.bias - before.output.bias
    torch.testing.assert_close(moved, torch.full_like(moved, 0.5), rtol=0, atol=2e-3)
    assert torch.equal(found.output.weight, before.output.weight)


def test_the_mean_with_another_network_is_refused(data, tmp_path, capsys):
    assert ship(data, tmp_path / "mean", "--mean-with", "models/english") == 2
    error = capsys.readouterr().err
    assert "models/english: this model has another network or other tokens" in error
    assert not (tmp_path / "mean").exists()


def test_a_run_is_not_measured_on_what_it_was_trained_on(shipped, data, tmp_path, capsys):
    other = shutil.copytree(data, tmp_path / "data")
    shutil.copy(manifest_path(data, "train"), manifest_path(other, "dev-librispeech"))
    command = ["ship", "--run", data.parent / "run", "--output", tmp_path / "model"]
    command += ["--decoder", "greedy"]
    assert main(RECIPE, [*map(str, command), "--data", str(other)]) == 2
    error = capsys.readouterr().err
    assert "trained on 24 of the 24 utterances that are held out of librispeech" in error
    assert f"--data {data}" in error
    assert not (tmp_path / "model").exists()
    assert main(RECIPE, list(map(str, command))) == 0
