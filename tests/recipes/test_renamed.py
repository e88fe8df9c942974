"""Options of ``fit`` under the names of earlier versions, and what those versions wrote."""

import json

import pytest
import torch
import yaml

from asr.bundle import load_bundle
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from recipes.common.cli import main
from recipes.common.export import bundle_from_checkpoint, export
from recipes.common.renamed import with_new_names

# Word for word from a checkpoint and a bundle of the version before.
FEATURES = json.loads(
    """{"kind": "fbank", "sample_rate": 16000, "frame_length_ms": 25.0, "frame_shift_ms": 10.0,
    "num_mels": 40, "num_ceps": 12, "energy": true, "deltas": 0, "stack": 2, "subsample": 2,
    "normalisation": "utterance", "style": "default", "backend": "torchaudio", "preemphasis": 0.97,
    "low_hz": 20.0, "high_hz": 0.0}"""
)
MODEL = json.loads(
    """{"input_size": 82, "vocab_size": 4, "hidden_size": 8, "num_layers": 2, "cell": "peephole",
    "bidirectional": true, "dropout": 0.15, "input_noise": 0.0, "weight_noise": 0.0,
    "kernel": "auto", "proj_size": 0, "recompute": false}"""
)


def test_old_names_on_the_command_line_mean_the_new():
    old = ["--model.hidden_size", "250", "--model.cell=lstm", "--model.learning_rate", "0.1"]
    new = ["--model.network.hidden_size", "250", "--model.network.cell=lstm", *old[3:]]
    assert with_new_names(old) == new
    assert with_new_names(new) == new


@pytest.mark.parametrize("form", ["--config {}", "--config={}", "-c {}"])
def test_old_names_in_a_configuration_mean_the_new(form, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("model:\n  hidden_size: 250\n  learning_rate: 0.1\nseed_everything: 1\n")
    option, _, content = "=".join(with_new_names(form.format(path).split())).partition("=")
    assert form.startswith(option)
    assert yaml.safe_load(content) == {
        "model": {"network": {"hidden_size": 250}, "learning_rate": 0.1},
        "seed_everything": 1,
    }


@pytest.mark.parametrize(
    "content",
    [
        *("model:\n  network: {cell: lstm}\n", "a: [", None),
        *("model: {hidden_size: 5, network: abc}\n", "model: {warmup_steps: 5, schedule: [1]}\n"),
    ],
)
def test_other_configurations_are_left_to_the_parser(content, tmp_path):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_text(content)
    assert with_new_names(["--config", str(path)]) == ["--config", str(path)]


@pytest.mark.parametrize("form", ["--config {}", "--config={}", "-c {}"])
def test_a_file_of_options_is_not_written_over(form, toy, toy_data, tmp_path, capsys):
    """A run keeps its own as config.yaml."""
    path = tmp_path / "config.yaml"
    path.write_text("trainer: {max_epochs: 1}\n")
    assert toy.fit(toy_data, tmp_path, *form.format(path).split()) == 2
    assert f"{path}: this would be written over {path}" in capsys.readouterr().err
    assert path.read_text() == "trainer: {max_epochs: 1}\n"


def test_an_old_checkpoint_becomes_a_bundle_of_the_same_network(tmp_path):
    torch.manual_seed(0)
    model = AcousticModel(AcousticModelConfig(82, 4, NetworkConfig(8, 2, dropout=0.15)))
    state = {f"model.{name}": weight for name, weight in model.state_dict().items()}
    extractor = {"extractor.mean": torch.zeros(41), "extractor.inv_std": torch.ones(41)}
    plain = {"features": FEATURES, "model": MODEL, "token_kind": "characters"}
    plain["tokens"] = ["<blank>", "<space>", "a", "b"]
    path = tmp_path / "old.ckpt"
    torch.save(
        {"peephole_asr": plain, "state_dict": {**state, **extractor}, "epoch": 0, "global_step": 1},
        path,
    )
    bundle = bundle_from_checkpoint(path, "old")
    assert torch.equal(bundle.model.output.weight, model.output.weight)
    export(path, tmp_path / "bundle", "old")
    values = json.loads((tmp_path / "bundle" / "config.json").read_text())["model"]
    assert values == {**MODEL, "front": None, "reductions": []}  # of which it knew nothing
    assert load_bundle(tmp_path / "bundle").model.config == model.config


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning's own
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:.*treespec.*")
@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:.*args parameter is intended.*")
@pytest.mark.filterwarnings("ignore:.*Checkpoint directory.*")
def test_a_run_of_an_earlier_version_goes_on(toy, toy_data, tmp_path):
    """Its file names the network's options singly, and options that it did not follow."""
    run = tmp_path / "run"
    assert toy.fit(toy_data, run, "--trainer.max_epochs", "1") == 0
    config = yaml.safe_load((run / "config.yaml").read_text())
    network = config["model"].pop("network")
    config["model"].update(network)
    config["trainer"].update(use_distributed_sampler=True, default_root_dir="elsewhere")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    options = [*toy.where(toy_data, run), "--resume", "true", "--trainer.max_epochs", "2"]
    assert main(toy.recipe(), ["fit", *options]) == 0
    after = yaml.safe_load((run / "config.yaml").read_text())
    assert after["model"]["network"] == network
    assert after["trainer"]["max_epochs"] == 2
