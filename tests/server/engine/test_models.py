"""Which folders of a repository are served as models, and what a reload makes of the others."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from asr.bundle import load_bundle, save_bundle, shipped
from asr.bundle.contents import CONFIG
from asr.decoding.beam.language import Language
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.recognizer import Recognizer
from asr.types import AsrError, BundleError, ConfigError
from server.command import _parser, _source
from server.engine.models import Models, Repository, SingleBundle


@pytest.fixture
def folder(tmp_path, bundle_path) -> Path:
    """A repository with one good bundle, ``good``."""
    shutil.copytree(bundle_path, tmp_path / "models" / "good")
    return tmp_path / "models"


def models_of(source: Repository | SingleBundle) -> Models:
    return Models(source, Recognizer.load, lambda recognizer: None)


def another(bundle: Path, path: Path) -> Path:
    """A copy that differs by a line of its configuration, which is none to the recogniser."""
    shutil.copytree(bundle, path)
    (path / CONFIG).write_text((path / CONFIG).read_text() + "\n")
    return path


def names(models: Models) -> list[str]:
    return [model.name for model in models.all()]


def make_empty(path: Path) -> None:
    path.mkdir()


def make_closed(path: Path) -> None:
    path.mkdir(mode=0)


def make_snapshots(path: Path) -> None:
    (path / "daily").mkdir(parents=True)


def make_half_a_bundle(path: Path) -> None:
    shutil.copytree(path.parent / "good", path)
    (path / "model.safetensors").unlink()


def make_cut_bundle(path: Path) -> None:
    shutil.copytree(path.parent / "good", path)
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def make_late_bundle(path: Path) -> None:
    shutil.copytree(path.parent / "good", path)
    (path / CONFIG).unlink()


def make_link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


def make_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


STRANGE = {
    "lost+found": make_closed,
    "notes": make_empty,
    "snapshots": make_snapshots,
    "half": make_half_a_bundle,
    "cut": make_cut_bundle,
    "late": make_late_bundle,
    "dangling": make_link_to_nothing,
    "circle": make_link_to_itself,
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_bundle_keeps_no_other_out(folder, caplog, name):
    STRANGE[name](folder / name)
    models = models_of(Repository(folder))
    assert models.load().changes == ["good: new"]
    assert names(models) == ["good"]
    assert models.get("").name == "good", "the only one"
    passed = [record for record in caplog.records if "passed over" in record.getMessage()]
    assert [record.levelno for record in passed] == [logging.WARNING]
    assert passed[0].getMessage().startswith(f"{name} is passed over: ")
    assert models.load().changes == []


def test_hidden_folders_and_files_are_not_even_mentioned(folder, caplog):
    for name in (".snapshot", "..data", ".git"):
        (folder / name).mkdir()
    (folder / "README").write_text("our models")
    models_of(Repository(folder)).load()
    assert caplog.records == []


def test_words_that_are_lost_are_told_when_the_model_is_loaded(folder, tmp_path, caplog):
    bundle = load_bundle(folder / "good")
    units = [[word.encode() for word in ("ab", "Ab", "ab")]]
    lm = LanguageModel(estimate(units, KneserNeyConfig(1, discount_fallback=FALLBACK)))
    save_bundle(replace(bundle, language=Language(bundle.tokenizer, lm)), folder / "words")
    caplog.clear()
    models_of(Repository(folder)).load()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith("(1 for upper or lower case): 'Ab'")


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_bundle_stops_no_reload(folder, bundle_path, name):
    models = models_of(Repository(folder))
    models.load()
    STRANGE[name](folder / name)
    another(bundle_path, folder / "new")
    loaded = models.load()
    assert loaded.changes == ["new: new"]
    assert loaded.failed == ([name] if name in ("half", "cut") else [])


def test_a_bundle_that_is_complete_later_is_served_then(folder):
    make_half_a_bundle(folder / "half")
    models = models_of(Repository(folder))
    models.load()
    shutil.copy(folder / "good" / "model.safetensors", folder / "half")
    assert models.load().changes == ["half: new"]


@pytest.mark.parametrize("damage", ["weights", "configuration", "all"])
def test_a_model_in_service_stays_while_its_folder_is_damaged(folder, bundle_path, caplog, damage):
    models = models_of(Repository(folder))
    models.load()
    before = models.get("good")
    if damage == "weights":
        (folder / "good" / CONFIG).write_text((folder / "good" / CONFIG).read_text() + "\n")
        (folder / "good" / "model.safetensors").write_bytes(b"")
    else:
        for file in (folder / "good").iterdir():
            if damage == "all" or file.name == CONFIG:
                file.unlink()
    another(bundle_path, folder / "new")
    loaded = models.load()
    assert (loaded.changes, loaded.failed) == (["new: new"], ["good"])
    assert models.get("good") is before
    assert any("the old one stays" in record.getMessage() for record in caplog.records)


def test_no_bundle_that_can_be_loaded_is_an_error(folder):
    models = models_of(Repository(folder))
    make_half_a_bundle(folder / "half")
    shutil.rmtree(folder / "good")
    with pytest.raises(BundleError, match=r"model\.safetensors"):
        models.load()
    shutil.rmtree(folder / "half")
    with pytest.raises(ConfigError, match="holds no bundles"):
        models.load()
    make_empty(folder / "notes")
    with pytest.raises(AsrError, match=r"config\.json"):
        models.load()


def test_a_default_model_that_cannot_be_loaded_is_an_error(folder):
    make_half_a_bundle(folder / "half")
    with pytest.raises(BundleError, match=r"model\.safetensors"):
        models_of(Repository(folder, "half")).load()
    with pytest.raises(ConfigError, match="'none' to be the default"):
        models_of(Repository(folder, "none")).load()


# Links


def link(path: Path, to: str) -> None:
    """As `ln -sfn` and `mv -T` do: from one moment to the next."""
    beside = path.with_name(".link")
    beside.symlink_to(to)
    os.replace(beside, path)


@pytest.mark.parametrize("single", [False, True])
def test_a_link_has_its_own_name_and_relinking_exchanges_what_is_behind_it(
    tmp_path, folder, bundle_path, single
):
    first = shutil.copytree(bundle_path, tmp_path / "v1")
    second = another(bundle_path, tmp_path / "v2")
    shutil.rmtree(folder / "good")
    link(folder / "current", str(first))
    models = models_of(SingleBundle(folder / "current") if single else Repository(folder))
    models.load()
    assert names(models) == ["current"]
    before = models.get("current").fingerprint
    link(folder / "current", str(second))
    assert models.load().changes == ["current: exchanged"]
    assert models.get("current").fingerprint != before
    (folder / "current").unlink()
    (folder / "current").symlink_to("nowhere")
    assert models.load().changes == []
    assert names(models) == ["current"], "a link that leads nowhere for a moment"


def test_a_bundle_is_read_from_one_folder_whatever_the_link_does_meanwhile(
    tmp_path, folder, bundle_path
):
    first = shutil.copytree(bundle_path, tmp_path / "v1")
    second = another(bundle_path, tmp_path / "v2")
    shutil.rmtree(folder / "good")
    link(folder / "current", str(first))
    read_from = []

    def read(path: Path) -> Recognizer:
        link(folder / "current", str(second))
        read_from.append(path)
        return Recognizer.load(path)

    models = Models(Repository(folder), read, lambda recognizer: None)
    models.load()
    assert read_from == [first]


@pytest.mark.parametrize("written", [".", "../good", "./"])
def test_a_single_bundle_is_named_as_its_folder_however_that_is_written(
    folder, monkeypatch, written
):
    monkeypatch.chdir(folder / "good")
    [found] = SingleBundle(Path(written)).find()
    assert found.name == "good"


def test_without_a_name_the_model_that_ships_is_served(folder, monkeypatch):
    (folder / "good").rename(folder / shipped.NAME)
    monkeypatch.setattr(shipped, "PLACES", (folder,))
    [found] = _source(_parser().parse_args([])).find()
    assert found.name == shipped.NAME
    [named] = _source(_parser().parse_args(["--model", str(folder / "other")])).find()
    assert named.name == "other"
