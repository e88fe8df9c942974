"""Running an experiment: what is kept of a run that is cut off, and the page's section."""

import json
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from recipes.lineage import experiment
from recipes.lineage.experiment import (
    Experiment,
    Journal,
    Result,
    Table,
    overview,
    perform,
    section,
)


def plain(run):
    return Experiment("x", "A title", "A source", "A claim.", "A setting.", "", 2, run)


def test_a_run_that_was_cut_off_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "JOURNALS", tmp_path / "journals")
    computed = []

    def run(settings, *, stop=False):
        def compute(key):
            computed.append(key)
            return [len(computed)]

        values = [settings.once("a", lambda: compute("a"))]
        if stop:
            raise KeyboardInterrupt
        values.append(settings.once("b", lambda: compute("b")))
        return Result(True, "It is so.", {"values": values}, Figure())

    with pytest.raises(KeyboardInterrupt):
        perform(plain(lambda settings: run(settings, stop=True)), tmp_path)
    perform(plain(run), tmp_path)
    assert computed == ["a", "b"]
    record = json.loads((tmp_path / "x.json").read_text())
    assert record["numbers"] == {"values": [[1], [2]]}
    assert not list((tmp_path / "journals").iterdir())


def test_seconds_of_both_parts_are_added(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps({"key": "a", "seconds": 40.0, "value": 1}) + "\n")
    journal = Journal(path)
    assert journal.once("a", lambda: 2) == 1
    assert journal.recalled == 40.0
    assert journal.once("b", lambda: 3) == 3
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["a", "b"]


def test_the_page_shows_the_picture_first_and_the_setting_that_was_run(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "JOURNALS", tmp_path / "journals")
    table = Table("All of it.", [["task", "p"], ["one", "0.1"]])
    one = plain(lambda settings: Result(False, "It is not so.", {}, Figure(), [table]))
    perform(one, tmp_path)
    half = plain(lambda settings: Result(None, "It is partly so.", {}, Figure()))
    perform(replace(half, name="y", title="It's (so): 2, true", setup="Other."), tmp_path)
    assert section("x", tmp_path).split("\n\n")[:7] == [
        "## A title",
        "![A title](lineage/x.png)",
        "**Claim.** A claim. *(A source)*",
        "**Does not hold here.** It is not so.",
        "All of it.",
        "| task | p |\n| --- | --- |\n| one | 0.1 |",
        "**Setting.** A setting.",
    ]
    rows = overview(["x", "y"], tmp_path).splitlines()[2:]
    assert rows[0].startswith("| [A title](#a-title) | does not hold here | ")
    assert rows[1].startswith("| [It's (so): 2, true](#its-so-2-true) | holds in part | ")
