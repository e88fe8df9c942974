"""``make demo``: every step in turn, and nothing twice."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from asr.types import AsrError
from recipes.common.recipe import Recipe
from recipes.demo.tour import tour


@pytest.fixture
def recipe(toy, tmp_path, monkeypatch) -> Recipe:
    """The toy, its places in a new folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return replace(toy.recipe(), splits=("train", "dev", "test"))


@pytest.fixture
def trainings(toy, recipe, monkeypatch) -> list[list[str]]:
    """The options of each training that was asked for; a net appears, untrained."""
    asked: list[list[str]] = []

    def fit(recipe, options):
        asked.append(options)
        checkpoints = recipe.paths.run / "checkpoints"
        checkpoints.mkdir(parents=True, exist_ok=True)
        if len(asked) == 1:
            (checkpoints / "last.ckpt").touch()
            raise AsrError("interrupted")
        toy.checkpoint(recipe.paths.data, checkpoints / "best.ckpt")

    monkeypatch.setattr("recipes.common.fit.fit", fit)
    return asked


def test_an_interrupted_training_goes_on_and_a_finished_one_is_not_repeated(
    toy, recipe, trainings, capsys
):
    recipe.paths.corpus.mkdir(parents=True)
    with pytest.raises(AsrError, match="interrupted"):
        tour(recipe)
    first = capsys.readouterr().out
    assert "asr-server serves" in first
    assert "For your own recordings: asr transcribe FILES" in first
    tour(recipe)
    assert trainings == [[], ["--resume", "true"]]
    told = capsys.readouterr().out
    assert "asr-server stopped cleanly" in told
    [rate] = re.findall(r"word error rate on voices never heard in training: ([\d.]+) %", told)
    assert float(rate) > 0
    tour(recipe)
    assert len(trainings) == 2
    again = capsys.readouterr().out
    assert "already trained" in again
    assert f"never heard in training: {rate} %" in again
