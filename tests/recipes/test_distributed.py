"""Two processes that share the data train one model and measure it as one process would."""

import os
import re
import subprocess
import sys

import pytest
import torch

from recipes.common.cli import main
from recipes.common.data import SpeechDataModule
from recipes.common.export import bundle_from_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice


@pytest.fixture(scope="module")
def run(toy, toy_data, tmp_path_factory):
    """A run of two processes, as `torchrun` starts them; returns its folder and output."""
    run = tmp_path_factory.mktemp("distributed") / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "recipes.an4", "fit", *toy.where(toy_data, run), *toy.OPTIONS]
    command += ["--trainer.devices", "2", "--trainer.max_epochs", "3", "--data.batch_size", "2"]
    command += ["--model.features.normalisation", "global"]
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
