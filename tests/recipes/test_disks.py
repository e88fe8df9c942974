"""Disks that are full or cannot be written: one line, and nothing that was there is harmed."""

import json
import resource
from contextlib import contextmanager

import pytest
import torch

from recipes.common.cli import main
from recipes.common.evaluate import evaluation as evaluating
from recipes.common.export import bundle_from_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice


@contextmanager
def room(size):
    """Files may grow to ``size`` bytes; beyond it the system refuses, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def trained(toy, toy_data, tmp_path_factory):
    run = tmp_path_factory.mktemp("disks") / "run"
    assert toy.fit(toy_data, run, "--trainer.max_epochs", "1") == 0
    return run


def said(capsys):
    error = capsys.readouterr().err.lstrip()  # a progress bar's line end
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_checkpoint_that_does_not_fit_leaves_the_last_one_whole(toy, toy_data, trained, capsys):
    checkpoints = trained / "checkpoints"
    before = files(checkpoints)
    size = min(map(len, before.values())) // 2
    options = ["--trainer.max_epochs", "2", "--resume", "true", "--trainer.logger", "false"]
    with room(size):
        assert toy.fit(toy_data, trained, *options) == 2
    assert ".ckpt: cannot write the checkpoint: File too large" in said(capsys)
    assert files(checkpoints) == before
    assert torch.load(checkpoints / "last.ckpt", weights_only=True)["epoch"] == 0
    bundle_from_checkpoint(checkpoints / "best.ckpt", "toy")


def test_logs_that_do_not_fit_end_in_one_line(toy, toy_data, tmp_path, capsys):
    with room(1):
        assert toy.fit(toy_data, tmp_path / "run", "--trainer.max_epochs", "1") == 2
    assert "File too large" in said(capsys)


def test_a_run_in_a_place_that_is_no_folder(toy, toy_data, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"mine")
    assert toy.fit(toy_data, tmp_path / "file" / "run", "--trainer.max_epochs", "1") == 2
    assert "file" in said(capsys)
    assert (tmp_path / "file").read_bytes() == b"mine"


def evaluation(toy, toy_data, trained, output):
    where = ["--run", str(trained), "--data", str(toy_data), "--backend", "torch"]
    return main(toy.recipe(), ["evaluate", *where, "--output", str(output)])


@pytest.mark.parametrize("place", ["full", "no folder"])
def test_evaluate_finds_out_before_it_decodes(
    toy, toy_data, trained, tmp_path, monkeypatch, capsys, place
):
    def decode(*_):
        raise AssertionError("decoded for nothing")

    monkeypatch.setattr(evaluating, "score_cuts", decode)
    output = tmp_path / "dev.jsonl"
    output.write_text("older")
    if place == "full":
        with room(100):
            assert evaluation(toy, toy_data, trained, output) == 2
    else:
        assert evaluation(toy, toy_data, trained, output / "dev.jsonl") == 2
    assert "dev.jsonl" in said(capsys)
    assert output.read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["dev.jsonl"]


def test_evaluate_writes_its_results_where_there_is_room(toy, toy_data, trained, tmp_path):
    with room(100_000):
        assert evaluation(toy, toy_data, trained, tmp_path / "new" / "dev.jsonl") == 0
    rows = [json.loads(row) for row in (tmp_path / "new" / "dev.jsonl").read_text().splitlines()]
    assert len(rows) == 6


def test_evaluate_does_not_write_over_its_checkpoint(toy, toy_data, trained, capsys):
    best = trained / "checkpoints" / "best.ckpt"
    before = best.read_bytes()
    assert evaluation(toy, toy_data, trained, best) == 2
    assert "best.ckpt" in said(capsys)
    assert best.read_bytes() == before


def test_prepare_leaves_older_manifests_whole(toy, tmp_path, capsys):
    where = ["--corpus", str(tmp_path / "corpus"), "--data", str(tmp_path / "data")]
    assert main(toy.recipe(), ["prepare", *where]) == 0
    before = files(tmp_path / "data")
    capsys.readouterr()
    read = toy.utterances(tmp_path / "corpus", "train"), toy.utterances(tmp_path / "corpus", "dev")
    recipe = toy.recipe(lambda _, split: read[split == "dev"])
    with room(100):
        assert main(recipe, ["prepare", *where]) == 2
    assert "manifest" in said(capsys)
    assert files(tmp_path / "data") == before
