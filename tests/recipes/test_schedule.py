"""The learning rate falls from its peak to its end, whatever ends the training."""

import itertools

import pytest
import torch

from recipes.common.module import SpeechModule

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice

SHORT = ["--data.batch_size", "4", "--model.warmup_steps", "1", "--model.learning_rate", "0.01"]


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
