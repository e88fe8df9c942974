"""The priors that training leaves in its checkpoints, and in what is exported."""

import numpy as np
import pytest
import torch

from asr.audio import read_audio
from asr.bundle import load_bundle
from asr.decoding import Priors
from asr.recognizer import Recognizer
from recipes.common.cli import main
from recipes.common.export import bundle_from_checkpoint
from recipes.common.priors import PriorSums

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice


def over_development(bundle, data):
    """The priors by recognising the toy's development recordings one by one."""
    recognizer = Recognizer(bundle)
    paths = sorted((data.parent / "corpus").glob("dev*.wav"))
    waveforms = [read_audio(path) for path in paths]
    return Priors.of_speech(recognizer.log_probs([waveform]) for waveform in waveforms)


@pytest.mark.parametrize("means", [["--ema", "0.5"], ["--average", "last:2"]], ids=["ema", "mean"])
def test_they_are_of_the_checkpoints_own_weights(toy, toy_data, tmp_path, means):
    run = tmp_path / "run"
    assert toy.fit(toy_data, run, "--trainer.max_epochs", "3", *means) == 0
    names = ["best", "last", *(["average"] if "--average" in means else [])]
    for name in names:
        bundle = bundle_from_checkpoint(run / "checkpoints" / f"{name}.ckpt", "toy")
        expected = over_development(bundle, toy_data).log_priors
        np.testing.assert_allclose(bundle.priors.log_priors, expected, atol=1e-4)


def test_evaluate_and_export_use_them(toy, data, run, tmp_path, capsys):
    where = ["--run", str(run), "--data", str(data)]
    weighted = ["--decoder", "beam", "--prior-weight", "0.8"]
    assert main(toy.recipe(), ["export", *where, "--output", str(tmp_path / "b"), *weighted]) == 2
    assert "knows no priors" in capsys.readouterr().err  # the net was never run on development
    trained = tmp_path / "run"
    assert toy.fit(data, trained, "--trainer.max_epochs", "1") == 0
    where = ["--run", str(trained), "--data", str(data)]
    assert main(toy.recipe(), ["evaluate", *where, *weighted]) == 0
    assert main(toy.recipe(), ["export", *where, "--output", str(tmp_path / "b"), *weighted]) == 0
    bundle = load_bundle(tmp_path / "b")
    assert bundle.decoder.prior_weight == 0.8
    assert bundle.priors is not None


def test_those_of_several_processes_are_those_of_one():
    torch.manual_seed(0)
    parts = [torch.randn(2, 9, 4).log_softmax(-1) for _ in range(3)]
    lengths = torch.tensor([9, 5])
    one = PriorSums(4)
    each = [PriorSums(4) for _ in range(4)]  # the last has no share of the split
    for part, sums in zip(parts, each, strict=False):
        one.update(part, lengths)
        sums.update(part, lengths)
    numbers = [[float(sums.frames), *sums.sums.tolist()] for sums in each]
    together = each[0].finish_pass(lambda _: [sum(column) for column in zip(*numbers, strict=True)])
    np.testing.assert_allclose(together.log_priors, one.finish_pass().log_priors, rtol=1e-12)
    assert one.finish_pass() is None  # a pass of nothing


def test_a_network_that_has_gone_astray_has_none():
    sums = PriorSums(3)
    sums.update(torch.full((1, 2, 3), torch.nan), torch.tensor([2]))
    assert sums.finish_pass() is None
