"""An interrupted run goes on as if nothing had happened."""

import pytest
import pytorch_lightning as pl
import torch

from recipes.common.module import SpeechModule

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Lightning's own
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*args parameter is intended.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory.*"),
]

# All that is drawn by chance in training.
CHANCE = [
    *("--data.speed_factors", "[0.8, 0.9, 1.1, 1.2]", "--data.batch_size", "4"),
    *(
        "--model.network.dropout",
        "0.3",
        "--model.network.input_noise",
        "0.1",
        "--model.network.weight_noise",
        "0.01",
    ),
    *("--model.spec_augment.freq_masks", "1"),
]
RESUME = ["--resume", "true"]


@pytest.fixture
def batches(monkeypatch):
    """Utterances and lengths of every training batch, in order."""
    seen = []
    step = SpeechModule.training_step

    def recorded(self, batch, batch_idx):
        seen.append((self.trainer.current_epoch, list(batch.ids), batch.lengths.tolist()))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SpeechModule, "training_step", recorded)
    return seen


def epochs(number):
    return ["--trainer.max_epochs", str(number)]


def state(run):
    """Weights, the optimiser's moments and the learning rate of a run's last checkpoint."""
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    moments = checkpoint["optimizer_states"][0]["state"]
    rates = [group["lr"] for group in checkpoint["optimizer_states"][0]["param_groups"]]
    named = {f"{n}.{key}": value for n, parts in moments.items() for key, value in parts.items()}
    return {**checkpoint["state_dict"], **named}, rates


def interrupt(monkeypatch, *, epoch, step=0):
    """Ctrl-C before a step of an epoch, the first time."""
    at = pl.LightningModule.on_train_batch_start

    def hook(self, batch, batch_idx):
        if (self.trainer.current_epoch, batch_idx) == (epoch, step):
            monkeypatch.setattr(SpeechModule, "on_train_batch_start", at)
            raise KeyboardInterrupt

    monkeypatch.setattr(SpeechModule, "on_train_batch_start", hook)


def test_each_epoch_of_resumed_runs_is_that_of_one_run(toy, toy_data, tmp_path, batches):
    assert toy.fit(toy_data, tmp_path / "whole", *CHANCE, *epochs(3)) == 0
    whole = batches.copy()
    batches.clear()
    assert toy.fit(toy_data, tmp_path / "parts", *CHANCE, *epochs(1)) == 0
    assert toy.fit(toy_data, tmp_path / "parts", *CHANCE, *epochs(2), *RESUME) == 0
    workers = ["--data.num_workers", "1"]  # they ask for batches before the first step
    assert toy.fit(toy_data, tmp_path / "parts", *CHANCE, *epochs(3), *RESUME, *workers) == 0
    assert batches == whole
    by_epoch = [[entry[1:] for entry in whole if entry[0] == epoch] for epoch in range(3)]
    assert by_epoch[0] != by_epoch[1] != by_epoch[2]


@pytest.mark.parametrize("step", [0, 3])
def test_an_interrupted_run_ends_as_one_never_stopped(
    toy, toy_data, tmp_path, monkeypatch, step, batches
):
    """Bit for bit; what was done after the last whole epoch is done again."""
    assert toy.fit(toy_data, tmp_path / "whole", *CHANCE, *epochs(3)) == 0
    interrupt(monkeypatch, epoch=1, step=step)
    assert toy.fit(toy_data, tmp_path / "parts", *CHANCE, *epochs(3)) == 130
    assert toy.fit(toy_data, tmp_path / "parts", *CHANCE, *epochs(3), *RESUME) == 0
    (expected, rates), (found, found_rates) = (state(tmp_path / n) for n in ("whole", "parts"))
    assert found_rates == rates
    assert set(found) == set(expected)
    for name in expected:
        assert torch.equal(found[name], expected[name]), name
