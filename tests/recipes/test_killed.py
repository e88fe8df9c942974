"""A run that is killed at any step and resumed ends as one that was never killed, bit for bit."""

import csv
import signal
import subprocess
import sys

import pytest
import pytorch_lightning as pl
import torch

from recipes.common.cli import main
from recipes.common.module import SpeechModule

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice

CHANCE = [
    *("--data.speed_factors", "[0.8, 0.9, 1.1, 1.2]", "--data.batch_size", "8"),
    *("--model.network.dropout", "0.3", "--model.network.weight_noise", "0.01"),
    *("--model.spec_augment.freq_masks", "1", "--model.schedule.by", "steps"),
    *("--model.features.normalisation", "speaker"),
]
EACH_STEP = ["--checkpoint_steps", "1"]
# Options, and the batches before which the run is killed in turn.
WAYS = {
    "epochs": (["--trainer.max_epochs", "2"], range(1, 8)),
    "steps": (["--trainer.max_epochs", "-1", "--trainer.max_steps", "7"], [2, 4, 6]),
    "passes": (["--trainer.max_epochs", "2", "--trainer.val_check_interval", "2"], [1, 2, 5]),
    "passes across epochs": (
        [
            *("--trainer.max_epochs", "3", "--trainer.check_val_every_n_epoch", "null"),
            *("--trainer.val_check_interval", "3"),
        ],
        [2, 4, 7],
    ),
    "accumulation": (
        ["--trainer.max_epochs", "2", "--trainer.accumulate_grad_batches", "2"],
        [3, 5],
    ),
}


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def kill(monkeypatch, step):
    """End the run before its ``step``-th batch, once."""
    at = pl.LightningModule.on_train_batch_start

    def hook(self, batch, batch_idx):
        if self.trainer.fit_loop.total_batch_idx == step:
            monkeypatch.setattr(SpeechModule, "on_train_batch_start", at)
            raise Killed

    monkeypatch.setattr(SpeechModule, "on_train_batch_start", hook)


def state(run):
    """All that the last checkpoint and the curve know, but for times and paths."""
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    flat = {}
    flatten("", {k: v for k, v in checkpoint.items() if k != "loops"}, flat)
    curve = list(csv.DictReader((run / "curves.csv").open()))
    return flat, [{k: v for k, v in row.items() if k != "seconds"} for row in curve]


def flatten(name, value, flat):
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            flatten(f"{name}.{key}", inner, flat)
    elif not any(part in name for part in ("path", ".ckpt", "seconds")):
        flat[name] = value


def same(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert type(found[name]) is type(value), name
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[name], value), name
        else:
            assert found[name] == value, name


@pytest.mark.parametrize("way", WAYS)
def test_killed_before_each_step_in_turn(toy, toy_data, tmp_path, monkeypatch, capsys, way):
    """Each attempt goes on from the last step before, and is killed again."""
    ends, steps = WAYS[way]
    assert toy.fit(toy_data, tmp_path / "whole", *CHANCE, *ends) == 0
    expected, curve = state(tmp_path / "whole")
    capsys.readouterr()
    run = tmp_path / "parts"
    for step in steps:
        kill(monkeypatch, step)
        begun = (run / "checkpoints" / "last.ckpt").is_file()
        with pytest.raises(Killed):
            toy.fit(toy_data, run, *CHANCE, *ends, *EACH_STEP, *["--resume", "true"] * begun)
    assert main(toy.recipe(), ["fit", "--run_dir", str(run), "--resume", "true"]) == 0
    assert "this run is finished" not in capsys.readouterr().out
    found, found_curve = state(run)
    same(found, expected)
    assert found_curve == curve


SIGKILL = """
import os, signal, sys
from recipes.common.cli import main
from recipes.common.module import SpeechModule
from recipes.an4.__main__ import RECIPE
step = SpeechModule.training_step
def killed(self, batch, batch_idx):
    if self.trainer.fit_loop.total_batch_idx == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)
SpeechModule.training_step = killed
sys.exit(main(RECIPE, sys.argv[1:]))
"""


def test_a_process_that_is_killed_leaves_all_that_is_needed(toy, toy_data, tmp_path):
    """With the process that reads the audio beside it; killed in the second epoch."""
    ends = ["--trainer.max_epochs", "3", "--data.num_workers", "1"]
    options = [*toy.OPTIONS, *CHANCE, *ends, "--checkpoint_minutes", "1e-9"]
    run = tmp_path / "parts"
    command = [sys.executable, "-W", "ignore", "-c", SIGKILL, "fit", *toy.where(toy_data, run)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert main(toy.recipe(), ["fit", "--run_dir", str(run), "--resume", "true"]) == 0
    assert toy.fit(toy_data, tmp_path / "whole", *CHANCE, *ends) == 0
    found, curve = state(run)
    expected, expected_curve = state(tmp_path / "whole")
    same(found, expected)
    assert curve == expected_curve
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [row["epoch"] for row in curve] == ["1", "2", "3"]
    assert all(float(row["train_loss"]) > 0 and float(row["dev_loss"]) > 0 for row in curve)
