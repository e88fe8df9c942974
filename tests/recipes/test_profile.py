"""Where a step's time goes."""

import re
import time

import pytest
import torch

from asr.nn.ctc import CTCLoss
from recipes.common.profile import PARTS, Timer, main, with_its_backward

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


def cells_of(line: str) -> list[str]:
    return line.split("│") if line.startswith("│") else []


@pytest.mark.parametrize("normalisation", ["per_label", "sum"])
def test_a_gradient_that_is_computed_at_once_is_the_same(normalisation):
    loss = CTCLoss(normalisation)
    targets, lengths = torch.tensor([[1, 2, 1]]), (torch.tensor([9]), torch.tensor([3]))

    def ctc(batch: object, log_probs: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        return loss(log_probs, frames, targets, lengths[1])

    gradients = []
    for function in (ctc, with_its_backward(ctc)):
        scores = torch.randn(1, 9, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        (0.3 * function(None, scores.log_softmax(-1), lengths[0])).backward()
        gradients.append(scores.grad)
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(gradients[1], gradients[0])


def test_it_prints_all_parts_and_keeps_nothing(toy, toy_data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["an4", "--steps", "3", "--data.data_dir", str(toy_data), *toy.OPTIONS]
    assert main(options) == 0
    output = capsys.readouterr().out
    rows = {cells[1].strip(): cells[2:5] for cells in map(cells_of, output.splitlines()) if cells}
    assert list(rows) == [*PARTS, "all"]
    shares = [float(share.strip(" %")) for _, _, share in rows.values()]
    assert sum(shares[:-1]) == pytest.approx(shares[-1], abs=0.3) == 100
    batches = int(re.search(r"3 of (\d+) steps", output)[1])
    for step, epoch, _ in rows.values():
        assert float(epoch) == pytest.approx(batches * float(step) / 1000, abs=0.06)
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
