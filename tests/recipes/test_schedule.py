"""The learning rate falls from its peak to its end, whatever ends the training."""

import itertools
import math

import pytest
import torch

from asr.types import ConfigError
from recipes.common.module import SpeechModule
from recipes.common.schedule import Annealing, ScheduleOptions

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice

SHORT = [
    "--data.batch_size",
    "4",
    "--model.schedule.warmup_steps",
    "1",
    "--model.learning_rate",
    "0.01",
]


@pytest.fixture
def rates(monkeypatch):
    """The learning rate of every step."""
    seen = []
    step = SpeechModule.training_step

    def recorded(self, batch, batch_idx):
        seen.append(self.optimizers().param_groups[0]["lr"])
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SpeechModule, "training_step", recorded)
    return seen


def falls(rates):
    return all(after <= before for before, after in itertools.pairwise(rates))


@pytest.mark.parametrize("max_epochs", ["-1", "null", "50"])
def test_by_steps_where_those_end_first(toy, toy_data, tmp_path, rates, max_epochs):
    """Twelve steps end within an epoch; a best checkpoint is there all the same."""
    run = tmp_path / "run"
    ends = ["--trainer.max_epochs", max_epochs, "--trainer.max_steps", "12"]
    assert toy.fit(toy_data, run, *SHORT, *ends) == 0
    assert len(rates) == 12
    assert rates[0] == pytest.approx(0.01)
    assert falls(rates)
    assert rates[6] == pytest.approx(0.01 * (0.01 + 0.99 * 0.5), rel=0.05)  # half the cosine
    assert rates[-1] < 0.01 * 0.05
    for name in ("best", "last"):
        path = run / "checkpoints" / f"{name}.ckpt"
        assert torch.load(path, weights_only=True)["global_step"] in (9, 12)


def test_by_epochs(toy, toy_data, tmp_path, rates):
    assert toy.fit(toy_data, tmp_path / "run", *SHORT, "--trainer.max_epochs", "3") == 0
    assert falls(rates)
    assert len(set(rates)) == 3  # the same throughout an epoch
    assert rates[-1] == pytest.approx(0.01 * (0.01 + 0.99 * 0.25))


def test_steps_within_the_first_epoch_and_more_of_them_on_resume(toy, toy_data, tmp_path, rates):
    run = tmp_path / "run"
    assert toy.fit(toy_data, run, *SHORT, "--trainer.max_steps", "3") == 0
    assert (run / "checkpoints" / "best.ckpt").is_file()
    assert toy.fit(toy_data, run, *SHORT, "--trainer.max_steps", "9", "--resume", "true") == 0
    assert len(rates) == 9
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 9


def test_by_steps_it_falls_within_an_epoch_to_the_known_last_step(toy, toy_data, tmp_path, rates):
    """Two epochs, two batches a step; against torch's own cosine."""
    how = ["--model.schedule.by", "steps", "--model.schedule.final_fraction", "0.1"]
    ends = ["--trainer.max_epochs", "2", "--trainer.accumulate_grad_batches", "2"]
    assert toy.fit(toy_data, tmp_path / "run", *SHORT, *how, *ends) == 0
    batches = len(rates) // 2
    steps = math.ceil(batches / 2)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.01)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2 * steps, eta_min=0.001)
    expected = []
    for _ in range(2 * steps):
        expected.append(cosine.get_last_lr()[0])
        optimizer.step()
        cosine.step()
    by_batch = [expected[epoch * steps + n // 2] for epoch in range(2) for n in range(batches)]
    assert rates == pytest.approx(by_batch)


def test_more_epochs_on_resume_follow_the_longer_schedule(toy, toy_data, tmp_path, rates):
    """The rate goes on where a run planned so long from its beginning would stand."""
    how = [*SHORT, "--model.schedule.by", "steps"]
    run = tmp_path / "run"
    assert toy.fit(toy_data, run, *how, "--trainer.max_epochs", "1") == 0
    assert toy.fit(toy_data, run, *how, "--trainer.max_epochs", "3", "--resume", "true") == 0
    schedule = ScheduleOptions(by="steps", warmup_steps=1)
    steps = len(rates) // 3
    longer = [0.01 * schedule.factor(step, step / len(rates)) for step in range(len(rates))]
    assert rates[steps + 1 :] == pytest.approx(longer[steps + 1 :])
    assert rates[steps] < longer[steps]  # the first step is the last of the shorter plan


# Shapes, against torch's own.


def test_one_cycle_is_torchs():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        1.0,
        total_steps=101,
        pct_start=31 / 101,
        final_div_factor=4.0,
        cycle_momentum=False,
    )
    options = ScheduleOptions("one-cycle", warmup_steps=0, final_fraction=0.01, rise=0.3)
    for step in range(101):
        assert options.factor(step, step / 100) == pytest.approx(cycle.get_last_lr()[0])
        if step < 100:
            optimizer.step()
            cycle.step()


def test_linear_and_constant_are_what_they_are_called():
    linear = ScheduleOptions("linear", warmup_steps=4, final_fraction=0.2)
    assert [linear.factor(step, 0.0) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert [linear.factor(99, share) for share in (0.25, 1.0)] == pytest.approx([0.8, 0.2])
    assert {ScheduleOptions("constant").factor(200, share) for share in (0.0, 0.5, 1.0)} == {1.0}


def test_newbob_halves_when_the_development_set_gains_too_little():
    annealing = Annealing(
        ScheduleOptions("newbob", improvement=0.1, final_fraction=0.2), "dev/loss"
    )
    factors = []
    for value in (1.0, 0.8, 0.75, 0.6, 0.6, 0.0, 0.0, 0.0):
        annealing.observe(value)
        factors.append(annealing.factor)
    assert factors == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]


def test_newbob_lets_passes_go_by():
    annealing = Annealing(ScheduleOptions("newbob", improvement=0.0, patience=2), "dev/loss")
    factors = []
    for value in (1.0, 1.1, 1.2, 1.3, 1.3, 1.3, 0.9):
        annealing.observe(value)
        factors.append(annealing.factor)
    assert factors == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "sine"},
        {"by": "hours"},
        {"warmup_steps": -1},
        {"rise": 1.5},
        {"annealing": math.nan},
    ],
)
def test_a_schedule_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ScheduleOptions(**wrong)


def test_newbob_follows_the_monitored_value_with_any_optimiser(
    toy, toy_data, tmp_path, rates, monkeypatch
):
    """It goes on with what it has seen, and a resumed run lowers the rate no second time."""
    passes = itertools.chain([0.5, 0.49, 0.2], itertools.repeat(0.2))
    log = SpeechModule.log

    def scored(self, name, value, *args, **options):
        value = next(passes) if name == "dev/token_error_rate" else value
        log(self, name, value, *args, **options)

    monkeypatch.setattr(SpeechModule, "log", scored)
    how = ["--model.schedule.kind", "newbob", "--model.schedule.improvement", "0.1"]
    how += ["--monitor", "token_error_rate", "--optimizer", "SGD", "--optimizer.lr", "0.01"]
    run = tmp_path / "run"
    assert toy.fit(toy_data, run, *SHORT, *how, "--trainer.max_epochs", "3") == 0
    assert toy.fit(toy_data, run, "--trainer.max_epochs", "5", "--resume", "true") == 0
    first = [rates[len(rates) * epoch // 5 + 1] for epoch in range(5)]
    assert first == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.0025])
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 2
