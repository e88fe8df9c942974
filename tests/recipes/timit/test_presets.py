"""The settings of papers: networks to the weight, front ends, optimisers."""

from pathlib import Path

import pytest
import torch

from asr.tokens import Tokenizer
from recipes.common.data import tokens_path
from recipes.common.fit_cli import SpeechCLI
from recipes.timit.__main__ import RECIPE
from recipes.timit.phones import PHONES

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Lightning's own
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*args parameter is intended.*"),
    pytest.mark.filterwarnings("ignore:.*treespec.*"),
    pytest.mark.filterwarnings("ignore:.*will be overridden by.*"),
]

FOLDER = Path(__file__).parents[3] / "recipes" / "timit" / "presets"
WEIGHTS = {
    "graves2006": 114_662,
    "graves2013-3l": 3_787_562,
    "graves2013-5l": 6_794_562,
    "modern": 2_217_265,
}
LABELS = {"modern": 48}  # 61 of the others


def made(name, tmp_path, *more):
    """What `fit` makes of a preset: module, data and options."""
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    labels = PHONES[LABELS.get(name, 61)]
    Tokenizer.from_texts([" ".join(labels)], "phones").save(tokens_path(data))
    where = ["--data.data_dir", str(data), "--run_dir", str(tmp_path / "run")]
    return SpeechCLI(RECIPE, ["--config", str(FOLDER / f"{name}.yaml"), *more, *where])


def count(cli):
    return sum(weight.numel() for weight in cli.model.model.parameters())


@pytest.mark.parametrize("name", WEIGHTS)
def test_presets_have_the_stated_number_of_weights(name, tmp_path):
    assert count(made(name, tmp_path)) == WEIGHTS[name]
    results = (FOLDER.parent / "RESULTS.md").read_text(encoding="utf-8")
    assert f"{WEIGHTS[name]:,}" in results


def test_each_preset_is_tested():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*WEIGHTS, "graves2013-noise"}


@pytest.mark.parametrize("name", [name for name in WEIGHTS if name.startswith("graves")])
def test_papers_train_by_online_descent_without_what_came_later(name, tmp_path):
    cli = made(name, tmp_path)
    network = cli.model.model.config.network
    assert (network.cell, network.dropout, network.weight_noise) == ("peephole", 0.0, 0.0)
    assert network.input_noise == (0.6 if name == "graves2006" else 0.0)
    assert cli.model.augment is None
    assert cli.datamodule.augmentation.speed is None
    assert cli.datamodule.limits.batch_size == 1
    assert cli.model.loss.normalisation == "sum"
    assert cli.trainer.gradient_clip_val is None
    cli.model.trainer = cli.trainer  # which knows how far training is
    optimizer = cli.model.configure_optimizers()["optimizer"]
    assert isinstance(optimizer, torch.optim.SGD)
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (1e-4, 0.9)
    assert cli.model.schedule.factor(0, 0.0) == cli.model.schedule.factor(10_000, 0.9) == 1.0


def test_front_ends_are_the_papers(tmp_path):
    of_2006 = made("graves2006", tmp_path).model.extractor.config
    assert of_2006 == type(of_2006).preset("graves2006")
    assert (of_2006.size, of_2006.win_length, of_2006.hop_length) == (26, 160, 80)
    of_2013 = made("graves2013-3l", tmp_path).model.extractor.config
    assert of_2013 == type(of_2013).preset("graves2013")
    assert of_2013.size == 123


def test_the_second_phase_adds_noise_to_the_first(tmp_path):
    noise = ["--config", str(FOLDER / "graves2013-noise.yaml")]
    first, second = (made("graves2013-3l", tmp_path, *more) for more in ([], noise))
    assert second.model.model.config.network.weight_noise == 0.075
    assert count(second) == count(first)
    assert (first.monitor.key, second.monitor.key) == ("dev/loss", "dev/error_rate")
