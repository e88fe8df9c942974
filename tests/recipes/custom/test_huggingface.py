"""A data set that `datasets` 3.6 itself saved: FLAC of 0.2 s in Arrow files."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from recipes.common.audio import load_samples
from recipes.custom import huggingface

SAVED = Path(__file__).parent / "data" / "saved_by_datasets"


def test_bytes_splits_and_names_of_classes(prepare):
    pytest.importorskip("pyarrow", reason="the extra `hf` is not installed")
    assert prepare("--from", SAVED) == 0
    assert {split: len(cuts) for split, cuts in prepare.splits.items()} == {
        "train": 3,
        "dev": 2,
        "test": 2,
    }
    assert sorted(prepare.texts.values())[-1] == "GO validation 1"
    assert {cut.supervisions[0].speaker for cut in prepare.cuts("dev")} == {"ben"}
    cut = prepare.cuts("train")[2]
    assert cut.supervisions[0].custom["gender"] == "f"
    spectrum = np.abs(np.fft.rfft(load_samples(cut).samples))
    assert np.argmax(spectrum) / 0.2 == pytest.approx(500.0, abs=5.0)


def test_the_remedy_where_pyarrow_is_missing(prepare, monkeypatch, capsys):
    def none(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("asr.extras.import_module", none)
    assert prepare("--from", SAVED) == 2
    assert "pip install 'peephole-asr[hf]'" in capsys.readouterr().err


def test_a_file_that_is_cut_is_named(tmp_path, prepare, capsys):
    pytest.importorskip("pyarrow", reason="the extra `hf` is not installed")
    shutil.copytree(SAVED, tmp_path / "set")
    path = tmp_path / "set" / "train" / "data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[:1500])
    assert huggingface.is_dataset(tmp_path / "set")
    assert prepare("--from", tmp_path / "set") == 2
    assert f"error: {path}: cannot read" in capsys.readouterr().err
