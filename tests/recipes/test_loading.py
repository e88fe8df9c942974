"""Audio that goes bad after `prepare` is said in one line, whoever reads it."""

import io
import os
import shutil
import sys
from pathlib import Path

import pytest

from asr.bundle import load_bundle
from recipes.common import cli
from recipes.common.data import SpeechDataModule, manifest_path
from recipes.common.manifests import read_manifest

# Lightning's own, about versions to come, and torch's about forks.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
]


@pytest.fixture
def damaged(toy, tmp_path):
    """A prepared corpus, one recording of which was overwritten since; the folder and its name."""
    cli.prepare(toy.recipe(), tmp_path / "corpus", tmp_path / "data")
    (tmp_path / "corpus" / "train3.wav").write_bytes(b"RIFF rubbish")
    return tmp_path / "data"


@pytest.mark.parametrize("workers", [0, 2])
def test_fit_says_it_in_one_line_whatever_the_number_of_workers(toy, damaged, capfd, workers):
    run = damaged.parent / "run"
    assert toy.fit(damaged, run, "--data.num_workers", str(workers)) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1
    assert "train3.wav" in lines[0]
    assert "Traceback" not in lines[0]


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("{gain: {probability: -1}}", "gain: probability is -1.0"),
        ("{silence: {max_before: -1}}", "silence: max_before is -1.0"),
        ("{noise: {}}", "noise: no folder"),
        ("{noise: {folder: FOLDER}}", "FOLDER: no audio files"),
        ("{noise: {folder: FOLDER/none}}", "FOLDER/none: "),
        ("{silense: {max_before: 1}}", "silense"),
        ("{silense: {}}", "no option data.augment.silense"),
    ],
)
def test_changes_that_cannot_be_made_are_said_in_one_line(
    toy, toy_data, tmp_path, capfd, option, named
):
    (tmp_path / "empty").mkdir()
    option, named = (text.replace("FOLDER", str(tmp_path / "empty")) for text in (option, named))
    assert toy.fit(toy_data, tmp_path / "run", "--data.augment", option) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1
    assert named in lines[0]
    assert not (tmp_path / "run").exists()


def test_evaluate_counts_it_as_deleted_and_goes_on(toy, damaged, tmp_path, capsys, small_run):
    options = ["--run", str(small_run), "--data", str(damaged), "--split", "train"]
    assert cli.main(toy.recipe(), ["evaluate", *options, "--output", str(tmp_path / "o")]) == 0
    assert "train3.wav" in capsys.readouterr().err.replace("\n", "")  # a long path is wrapped
    assert len((tmp_path / "o").read_text().splitlines()) == 24


def test_a_split_that_cannot_be_used_at_all_is_said(toy, damaged, tmp_path, capsys, small_run):
    for cut in read_manifest(manifest_path(damaged, "dev")):
        shutil.copy(damaged.parent / "corpus" / "train3.wav", cut.recording.sources[0].source)
    options = ["--run", str(small_run), "--data", str(damaged)]
    assert cli.main(toy.recipe(), ["evaluate", *options, "--output", str(tmp_path / "o")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert "none of 6 utterances can be recognised" in lines[-1]
    assert "Traceback" not in "".join(lines)


@pytest.fixture(scope="module")
def small_run(toy, toy_data, tmp_path_factory):
    """A run of one epoch."""
    run = tmp_path_factory.mktemp("small") / "run"
    assert toy.fit(toy_data, run, "--trainer.max_epochs", "1") == 0
    return run


@pytest.mark.parametrize("seconds", [1.5, 3.0])
def test_no_padded_batch_is_longer_than_the_limit(toy_data, seconds):
    """After perturbation and padding, in samples."""
    data = SpeechDataModule(
        str(toy_data), batch_size=64, batch_seconds=seconds, speed_factors=(0.5, 0.8, 1.2)
    )
    sizes = [batch.waveforms.shape for batch in data.train_dataloader()]
    assert sum(count for count, _ in sizes) == 24
    # soxr rounds each length up to a sample
    assert all(count == 1 or (size - 1) * count <= seconds * 16_000 for count, size in sizes)
    assert max(count for count, _ in sizes) > 1


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_evaluate_and_export_to_names_and_terminals_of_any_encoding(
    toy, toy_data, small_run, tmp_path, monkeypatch, encoding
):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/B\xfccher \xe2\x86\x92"))
    shutil.copytree(small_run, folder / "run")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    run = ["--run", str(folder / "run")]
    output = ["--output", str(folder / "dev.jsonl")]
    assert cli.main(toy.recipe(), ["evaluate", *run, "--data", str(toy_data), *output]) == 0
    assert len((folder / "dev.jsonl").read_text("utf-8").splitlines()) == 6
    assert cli.main(toy.recipe(), ["export", *run, "--output", str(folder / "bundle")]) == 0
    assert load_bundle(folder / "bundle").name == "an4"
