"""The mean of the last or best checkpoints: of the right ones, and told how good it is."""

import re

import pytest
import torch

from asr.types import AsrError, ConfigError
from recipes.common.averaging import AverageOptions, mean_checkpoint
from recipes.common.cli import main
from recipes.common.module import SpeechModule

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice


@pytest.fixture
def passes(monkeypatch):
    """Weights at each development pass of training, and error rates that are given here."""
    seen, rates = [], iter([0.5, 0.2, 0.4, 0.3, 0.6])
    log = SpeechModule.log

    def scored(self, name, value, *args, **options):
        if (
            name == "dev/error_rate"
            and self.trainer.training is False
            and self.trainer.state.fn == "fit"
        ):
            weights = {n: p.detach().clone() for n, p in self.state_dict().items()}
            seen.append(weights)
            value = next(rates)
        log(self, name, value, *args, **options)

    monkeypatch.setattr(SpeechModule, "log", scored)
    return seen


@pytest.mark.parametrize(("which", "members"), [("last", [2, 3, 4]), ("best", [1, 2, 3])])
def test_it_is_the_mean_of_those_it_says(toy, toy_data, tmp_path, passes, capsys, which, members):
    """Also where the run was interrupted between them; `evaluate` confirms its error rate."""
    run = tmp_path / "run"
    options = ["--average", f"{which}:3", "--trainer.max_epochs"]
    assert toy.fit(toy_data, run, *options, "2") == 0
    assert toy.fit(toy_data, run, *options, "5", "--resume", "true") == 0
    output = capsys.readouterr().out
    path = run / "checkpoints" / "average.ckpt"
    found = torch.load(path, weights_only=True)["state_dict"]
    for name, value in found.items():
        mean = sum(passes[n][name].double() for n in members) / 3
        torch.testing.assert_close(value.double(), mean, atol=1e-6, rtol=1e-6)
    assert len(list((run / "checkpoints" / "to_average").iterdir())) == 3
    assert str(path) in output
    said = re.findall(r"mean of 3 checkpoints\D+([\d.]+) %", output)[-1]
    where = ["--run", str(run), "--data", str(toy_data), "--checkpoint", str(path)]
    assert main(toy.recipe(), ["evaluate", *where, "--backend", "torch"]) == 0
    assert said == re.search(r"WER\D+([\d.]+) %", capsys.readouterr().out)[1]


@pytest.mark.parametrize("text", ["5", "last", "last:1", "worst:3", "best:-2", "best:²"])
def test_what_is_no_average_is_refused(text):
    with pytest.raises(ConfigError, match="--average"):
        AverageOptions.parse(text)


def test_two_kinds_of_average_are_refused(toy, toy_data, tmp_path, capsys):
    both = ["--average", "last:2", "--ema", "0.9"]
    assert toy.fit(toy_data, tmp_path / "run", *both) == 2
    assert "choose one" in capsys.readouterr().err


def test_no_checkpoints_have_no_mean():
    with pytest.raises(AsrError, match="no checkpoints"):
        mean_checkpoint([])
