"""Where a step's time goes."""

import time

import pytest
import torch

from recipes.common.profile import Timer, main

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice


@pytest.mark.timed
def test_time_counts_once_where_parts_lie_within_each_other():
    timer = Timer(torch.device("cpu"))
    began = time.perf_counter()
    with timer.part("outer"):
        timer.timed("inner", sum)(range(1_000_000))
        with timer.part("inner"):
            sum(range(1_000_000))
        sum(range(1_000_000))
    elapsed = time.perf_counter() - began
    assert sum(timer.seconds.values()) == pytest.approx(elapsed, rel=0.05)
    assert timer.seconds["inner"] > timer.seconds["outer"] / 4


def test_it_prints_all_parts_and_keeps_nothing(toy, toy_data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["an4", "--steps", "3", "--data.data_dir", str(toy_data), *toy.OPTIONS]
    assert main(options) == 0
    output = capsys.readouterr().out
    shares = 0
    for part in ("input", "features", "network", "loss", "backward", "optimiser"):
        row = next(line for line in output.splitlines() if part in line).split("│")
        shares += int(row[3].strip(" %"))
    assert shares == pytest.approx(100, abs=3)
    assert "times real time" in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nothing"], "no recipe 'nothing'"),
        (["common"], "no recipe"),
        (["an4", "--steps", "0"], "--steps is 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(capsys, options, said):
    assert main(options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
