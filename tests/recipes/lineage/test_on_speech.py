"""Runs with and without peepholes, paired by seed."""

import json
from pathlib import Path

import pytest

from recipes.lineage import on_speech
from recipes.lineage.__main__ import main


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Of seeds 0 to 3 with, of 1 to 4 without: as many of 20 words wrong as their names say."""
    monkeypatch.setattr(on_speech, "_size", lambda run, recipe: "9 weights")

    def make(name, seed, wrong):
        run = tmp_path / f"{name}-{seed}"
        (run / "results").mkdir(parents=True)
        (run / "config.yaml").write_text(f"seed_everything: {seed}\n")
        (run / "curves.csv").write_text("epoch,seconds\n1,90.0\n")
        rows = [
            {"id": f"u{n}", "speaker": "s", "reference": "a", "hypothesis": "ab"[n < wrong]}
            for n in range(20)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (run / "results" / "dev.greedy.jsonl").write_text(text)
        return str(run)

    with_them = [make("with", seed, 4 + seed) for seed in range(4)]
    without = [make("without", seed, 6 + seed) for seed in range(1, 5)]
    return with_them, without


def test_only_seeds_of_both_are_compared(runs, capsys):
    with_them, without = runs
    assert main(["on-speech", "an4", "--with", *with_them, "--without", *without]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:5] == [
        "| 1 | 25.00 % | 35.00 % |",
        "| 2 | 30.00 % | 40.00 % |",
        "| 3 | 35.00 % | 45.00 % |",
    ]
    assert lines[6].startswith(
        "with peepholes less without: -10.00 points, 95 % interval -10.00 to -10.00, p = 0.25, 3 "
    )
    assert lines[7] == "with: 9 weights, 1.5, 1.5, 1.5 minutes"


def test_runs_of_an_ablation_are_read(runs, capsys):
    with_them, without = runs
    for run in (*with_them, *without):
        Path(run, "results").rename(Path(run, "ablation"))
    assert main(["on-speech", "an4", "--with", *with_them, "--without", *without]) == 0
    assert "| 1 | 25.00 % | 35.00 % |" in capsys.readouterr().out


def test_phones_are_counted_in_classes_as_timits_own_tables_do(runs, capsys):
    with_them, without = runs
    for run in (*with_them, *without):
        file = Path(run, "results", "dev.greedy.jsonl")
        rows = file.read_text().replace('"a"', '"ih"').replace('"b"', '"ix"')
        file.write_text(rows)  # ix is ih in the 39 classes that are scored
    assert main(["on-speech", "timit", "--with", *with_them, "--without", *without]) == 0
    assert "| 1 | 0.00 % | 0.00 % |" in capsys.readouterr().out


def test_a_recipe_that_is_not_there_is_named(runs, capsys):
    with_them, without = runs
    assert main(["on-speech", "klingon", "--with", *with_them, "--without", *without]) != 0
    assert "no recipe 'klingon'" in capsys.readouterr().err


def test_one_seed_is_too_few(runs, capsys):
    with_them, without = runs
    command = ["on-speech", "an4", "--with", with_them[1], "--without", without[0]]
    assert main(command) != 0
    assert "1 seeds have a run with and one without" in capsys.readouterr().err


def test_two_runs_of_one_seed_are_refused(runs, capsys):
    with_them, without = runs
    twice = [with_them[1], with_them[1]]
    assert main(["on-speech", "an4", "--with", *twice, "--without", *without]) != 0
    assert "has the seed 1, as" in capsys.readouterr().err
