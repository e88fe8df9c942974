"""Several runs of one training as a row of a table and a picture."""

import json
import shutil

import pytest

from asr.scoring import bootstrap_interval
from recipes.common.cli import main
from recipes.common.export import bundle_from_checkpoint
from recipes.common.metric import WER


@pytest.fixture(scope="module")
def runs(toy, toy_data, tmp_path_factory):
    """Three runs as `fit` and `evaluate` leave them: 4, 8 and 12 of 40 words are wrong."""
    folder = tmp_path_factory.mktemp("runs")
    made = []
    for seed, wrong in enumerate((4, 8, 12)):
        run = folder / f"run-{seed}"
        for name in ("checkpoints", "results"):
            (run / name).mkdir(parents=True)
        toy.checkpoint(toy_data, run / "checkpoints" / "best.ckpt")
        (run / "config.yaml").write_text(f"seed_everything: {seed}\n")
        curves = "".join(f"{e},{e * 10},{1 / e},{e * 60.0}\n" for e in range(1, 4 + seed))
        (run / "curves.csv").write_text("epoch,step,dev_error_rate,seconds\n" + curves)
        part = {"machine": "a machine", "command": f"python -m recipes.an4 fit --seed {seed}"}
        (run / "record.json").write_text(json.dumps([part]))
        (run / "results" / "dev.greedy.jsonl").write_text(rows(wrong))
        made.append(run)
    return made


def rows(wrong):
    lines = [
        {"id": f"u{n}", "speaker": f"s{n % 8}", "reference": "a", "hypothesis": "ab"[n < wrong]}
        for n in range(40)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def report(toy, *words):
    return main(toy.recipe(), ["report", *map(str, words)])


def test_a_row_has_mean_spread_interval_weights_and_time(runs, toy, tmp_path, capsys):
    picture = tmp_path / "curves.png"
    assert report(toy, *runs, "--label", "3x8", "--picture", picture) == 0
    header, _, row, *notes = capsys.readouterr().out.splitlines()
    cells = dict(zip(header.split(" | "), row.split(" | "), strict=True))
    assert cells["WER %, mean ± deviation"] == "20.00 ± 10.00"
    assert cells["by seed"] == "10.00, 20.00, 30.00"
    errors = [WER.count("a", "ab"[n < wrong]) for wrong in (4, 8, 12) for n in range(40)]
    low, high = bootstrap_interval(errors, [f"s{n % 8}" for n in range(40)] * 3)
    assert cells["95 % by speaker"] == f"{100 * low:.2f} to {100 * high:.2f}"
    model = bundle_from_checkpoint(runs[0] / "checkpoints" / "best.ckpt", "toy").model
    assert cells["weights"] == f"{sum(p.numel() for p in model.parameters()):,}"
    assert cells["wall time |"] == "3.0, 4.0, 5.0 min |"
    assert notes[0] == "machine: a machine"
    assert notes[1:4] == [f"command: python -m recipes.an4 fit --seed {s}" for s in range(3)]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_one_run_has_no_spread(runs, toy, capsys):
    assert report(toy, runs[1]) == 0
    assert "| 20.00 | 20.00 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{0}", "{0}"], "has the seed 0, as"),
        (["{0}", "--result", "dev.beam-16"], "choose of dev.greedy by --result"),
        (["{0}/results"], "no seed stands here"),
        (["{0}", "--picture", "{0}/curves.pdf"], "pictures are PNG"),
    ],
)
def test_what_cannot_be_told_is_refused(runs, toy, capsys, words, told):
    assert report(toy, *(word.format(*runs) for word in words)) == 2
    assert told in capsys.readouterr().err


def evaluation(run, name, wrong, *, steps, decoder="greedy"):
    """A result as `evaluate` leaves it, of a checkpoint with so many steps behind it."""
    (run / "results" / f"{name}.jsonl").write_text(rows(wrong))
    model = {"model": "exp/run/checkpoints/best.ckpt", "metadata": {"epochs": 1, "steps": steps}}
    facts = {"options": {**model, "decoder": {"name": decoder}, "metric": "WER"}}
    (run / "results" / f"{name}.json").write_text(json.dumps(facts))


def test_the_rate_is_that_of_the_checkpoint_that_the_run_has_now(runs, toy, tmp_path, capsys):
    """Whose evaluation has a number behind its name where one of before has the name."""
    run = shutil.copytree(runs[0], tmp_path / "run")
    evaluation(run, "dev.greedy", 20, steps=7)
    assert report(toy, run) == 2
    assert "evaluated before the run went on (evaluate again)" in capsys.readouterr().err
    evaluation(run, "dev.greedy-2", 4, steps=1, decoder="beam")
    assert report(toy, run) == 2
    assert "choose dev.greedy-2 by --result" in capsys.readouterr().err
    evaluation(run, "dev.greedy-3", 10, steps=1)
    assert report(toy, run) == 0
    assert "| 25.00 | 25.00 |" in capsys.readouterr().out
    assert report(toy, run, "--result", "dev.greedy-2") == 0
    assert "| 10.00 | 10.00 |" in capsys.readouterr().out


def test_the_interval_of_equal_runs_is_that_of_one(runs, toy, tmp_path, capsys):
    """More seeds do not make speakers more: three equal runs tell no more than one of them."""
    assert report(toy, runs[0]) == 0
    one = capsys.readouterr().out.split("\n")[2].split(" | ")
    again = [tmp_path / name for name in "abc"]
    for seed, run in enumerate(again):
        shutil.copytree(runs[0], run)
        (run / "config.yaml").write_text(f"seed_everything: {seed}\n")
    assert report(toy, *again) == 0
    three = capsys.readouterr().out.split("\n")[2].split(" | ")
    assert one[5] == three[5]
