"""Two processes that share the data train one model and measure it as one process would."""

import csv
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from recipes.common.cli import main
from recipes.common.data import SpeechDataModule
from recipes.common.export import bundle_from_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice


SHARED = ["--model.features.normalisation", "global", "--optimizer", "SGD"]
SHARED += ["--optimizer.lr", "0.05", "--model.network.dropout", "0"]


@pytest.fixture(scope="module")
def run(toy, toy_data, tmp_path_factory):
    """A run of two processes, as `torchrun` starts them; returns its folder and output."""
    run = tmp_path_factory.mktemp("distributed") / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "recipes.an4", "fit", *toy.where(toy_data, run), *toy.OPTIONS]
    command += ["--trainer.devices", "2", "--trainer.max_epochs", "3", "--data.batch_size", "2"]
    command += SHARED
    result = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return run, result.stdout


def test_the_error_rate_is_that_of_all_the_data(toy, toy_data, run, capsys):
    """`evaluate` counts the errors of the same checkpoint in one process."""
    folder, output = run
    said = re.search(r"best development WER \(greedy\)\D+([\d.]+) %", output)[1]
    where = ["--run", str(folder), "--data", str(toy_data), "--backend", "torch"]
    assert main(toy.recipe(), ["evaluate", *where]) == 0
    found = re.search(r"WER\D+([\d.]+) %", capsys.readouterr().out)[1]
    assert said == found


def test_the_statistics_are_those_of_all_the_data(toy_data, run):
    path = run[0] / "checkpoints" / "last.ckpt"
    extractor = bundle_from_checkpoint(path, "toy").extractor
    found = extractor.mean.clone(), extractor.inv_std.clone()
    data = SpeechDataModule(str(toy_data))
    loader = data.plain_dataloader("train")
    extractor.fit_statistics((batch.waveforms, batch.lengths, None) for batch in loader)
    torch.testing.assert_close(found, (extractor.mean, extractor.inv_std))


def test_one_of_the_processes_speaks_for_both(run):
    assert run[1].count("utterances can be trained on") == 2  # train and dev
    assert run[1].count("epoch 1 of 3") == 1
    assert run[1].count("training finished") == 1


class BothBatches:
    """The batches of two processes, each pair as one."""

    def __init__(self, *samplers):
        self.samplers = samplers
        self.largest, self.digest = samplers[0].largest, samplers[0].digest

    def set_epoch(self, epoch):
        for sampler in self.samplers:
            sampler.set_epoch(epoch)

    def start_at(self, epoch, batch):
        self.set_epoch(epoch)

    def __len__(self):
        return len(self.samplers[0])

    def __iter__(self):
        for first, second in zip(*self.samplers, strict=True):
            yield first._replace(cuts=first.cuts + second.cuts)


def test_they_learn_what_one_process_learns_of_both_batches(
    toy, toy_data, run, tmp_path, monkeypatch
):
    """Also of batches of unequal sizes; and the curves say the same."""
    one = SpeechDataModule._sampler

    def both(self, split, *, shuffle):
        if split == "dev":
            return one(self, split, shuffle=shuffle)
        halves = []
        for rank in range(2):
            trainer, self.trainer = self.trainer, SimpleNamespace(global_rank=rank, world_size=2)
            halves.append(one(self, split, shuffle=shuffle))
            self.trainer = trainer
        return BothBatches(*halves)

    monkeypatch.setattr(SpeechDataModule, "_sampler", both)
    alone = tmp_path / "run"
    how = ["--trainer.max_epochs", "3", "--data.batch_size", "2", *SHARED]
    assert toy.fit(toy_data, alone, *how) == 0
    expected, found = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (alone, run[0])
    )
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)
    curves = [list(csv.DictReader((f / "curves.csv").open())) for f in (alone, run[0])]
    for a, b in zip(*curves, strict=True):
        for column in set(a) - {"seconds"}:
            assert float(a[column]) == pytest.approx(float(b[column]), rel=1e-4), column
