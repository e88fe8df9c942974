"""Steps over several batches, and a network in bfloat16."""

import csv

import pytest
import torch

from recipes.common.data import SpeechDataModule

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice

PLAIN = ["--trainer.max_epochs", "1", "--model.network.dropout", "0"]
SGD = ["--optimizer", "SGD", "--trainer.gradient_clip_val", "null"]
SUM = ["--model.objective.normalisation", "sum", "--model.schedule.kind", "constant"]


def weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_two_batches_a_step_are_one_batch_of_both(toy, toy_data, tmp_path, monkeypatch):
    """Lightning takes the mean over the batches of a step: of sums, half of the sum of both."""
    how = [*PLAIN, *SGD, *SUM, "--data.batch_size", "4", "--model.schedule.warmup_steps", "0"]
    few = ["--trainer.limit_train_batches"]
    two = ["--trainer.accumulate_grad_batches", "2", "--optimizer.lr", "2e-3"]
    assert toy.fit(toy_data, tmp_path / "two", *how, *two, *few, "4") == 0
    sampler = SpeechDataModule._sampler

    def paired(self, split, *, shuffle):
        made = sampler(self, split, shuffle=shuffle)
        if split == "train":
            batches = list(made)
            pairs = zip(batches[::2], batches[1::2], strict=False)
            joined = [first._replace(cuts=first.cuts + second.cuts) for first, second in pairs]
            like = {"start_at": lambda *_: None, "largest": made.largest, "digest": made.digest}
            made = type("Pairs", (list,), like)(joined)
        return made

    monkeypatch.setattr(SpeechDataModule, "_sampler", paired)
    assert toy.fit(toy_data, tmp_path / "one", *how, "--optimizer.lr", "1e-3", *few, "2") == 0
    expected = weights(tmp_path / "one")
    for name, value in weights(tmp_path / "two").items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_bfloat16_learns_nearly_the_same_and_keeps_whole_weights(toy, toy_data, tmp_path):
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        run = tmp_path / precision
        assert toy.fit(toy_data, run, *PLAIN, "--trainer.precision", precision) == 0
        row = next(csv.DictReader((run / "curves.csv").open()))
        losses.append([float(row[name]) for name in ("train_loss", "dev_loss")])
        assert {value.dtype for value in weights(run).values()} == {torch.float32}
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.03)


def test_a_gpu_without_bfloat16_is_told_so(toy, toy_data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    where = ["--trainer.precision", "bf16-mixed", "--trainer.accelerator", "auto"]
    assert toy.fit(toy_data, tmp_path / "run", *where) == 2
    assert "16-mixed" in capsys.readouterr().err
