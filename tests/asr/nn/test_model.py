"""The acoustic model's size, outputs and noise."""

import json

import pytest
import torch

from asr.nn.front import FrontOptions
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from asr.types import ConfigError, ModelError


@pytest.mark.parametrize(
    ("config", "weights"),
    [
        (AcousticModelConfig(26, 62, NetworkConfig(100, 1)), 114_662),  # Graves 2006
        (AcousticModelConfig(123, 62, NetworkConfig(250, 3)), 3_787_562),  # Graves 2013
    ],
)
def test_sizes_equal_the_papers(config, weights):
    assert sum(p.numel() for p in AcousticModel(config).parameters()) == weights


def small(**options):
    torch.manual_seed(0)
    config = AcousticModelConfig(5, 4, NetworkConfig(6, 2, **options))
    return AcousticModel(config)


def test_outputs_are_float32_log_probabilities():
    log_probs = small()(torch.randn(2, 7, 5), torch.tensor([7, 3]))
    assert log_probs.shape == (2, 7, 4)
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 7))


def test_the_softmax_stays_float32_under_autocast():
    model = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        log_probs = model(torch.randn(2, 7, 5), torch.tensor([7, 3]))
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 7))


@pytest.mark.parametrize("noise", ["input_noise", "weight_noise", "dropout"])
def test_noise_acts_in_training_alone(noise):
    model = small(**{noise: 0.3})
    x, lengths = torch.randn(2, 7, 5), torch.tensor([7, 3])
    assert not torch.equal(model(x, lengths), model(x, lengths))
    model.eval()
    assert torch.equal(model(x, lengths), model(x, lengths))


def test_weight_noise_leaves_the_weights_and_gives_them_their_gradient():
    model = small(weight_noise=0.1)
    before = {name: p.clone() for name, p in model.named_parameters()}
    model(torch.randn(2, 7, 5), torch.tensor([7, 3]))[..., 1].sum().backward()
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name])
        assert p.grad is not None
        assert p.grad.abs().sum() > 0


@pytest.mark.parametrize("noise", ["weight_noise", "dropout"])
def test_recomputed_layers_have_the_gradients_of_the_noise_that_they_were_run_with(noise):
    gradients = []
    for recompute in (False, True):
        model = small(**{noise: 0.3, "recompute": recompute})
        torch.manual_seed(1)
        model(torch.ones(2, 7, 5), torch.tensor([7, 3]))[0].square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    torch.testing.assert_close(gradients[1], gradients[0])


def test_weight_noise_has_the_asked_deviation():
    model = small(weight_noise=0.1)
    noise = torch.cat(
        [
            (noisy - weight).flatten()
            for _ in range(20)
            for noisy, weight in zip(
                model._noisy_weights().values(), model.recurrent.parameters(), strict=True
            )
        ]
    )
    assert abs(noise.std().item() - 0.1) < 0.002
    assert abs(noise.mean().item()) < 0.002


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_size": 0},
        {"num_layers": 0},
        {"num_layers": 10**9},
        {"hidden_size": 10**400},
        {"cell": "gru"},
        {"dropout": 1.0},
        {"input_noise": float("nan")},
        {"weight_noise": -1.0},
        {"kernel": "warp"},
        {"hidden_size": True},
        {"num_layers": True},
        {"proj_size": True},
        {"bidirectional": "x"},
        {"bidirectional": None},
        {"bidirectional": 1.5},
        {"bidirectional": -1},
        {"recompute": "x"},
        {"dropout": "0.1"},
        {"dropout": False},
        {"input_noise": 10**30},
        {"weight_noise": 10**400},
        {"reductions": 2},
        {"reductions": (True, 2)},
        {"reductions": "22"},
        {"front": {"channels": [8]}},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError) as caught:
        NetworkConfig(**options)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "options",
    [
        {"channels": (True, 8)},
        {"channels": 8},
        {"time_strides": "21"},
        {"feature_stride": True},
        {"feature_stride": 2.0},
    ],
)
def test_impossible_fronts_are_refused(options):
    with pytest.raises(ConfigError):
        FrontOptions(**options)


def test_configurations_survive_json_and_refuse_unknown_keys():
    config = AcousticModelConfig(5, 4, NetworkConfig(dropout=0.2))
    assert AcousticModelConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="colour"):
        AcousticModelConfig.from_dict({**config.to_dict(), "colour": 1})
    with pytest.raises(ConfigError):
        AcousticModelConfig.from_dict({"input_size": 5})


OLD = """{"input_size": 82, "vocab_size": 19, "hidden_size": 128, "num_layers": 2,
"cell": "peephole", "bidirectional": true, "dropout": 0.15, "input_noise": 0.0, "weight_noise": 0.0,
"kernel": "auto", "proj_size": 0, "recompute": false}"""
OLDEST = (
    """{"input_size": 26, "vocab_size": 62, "hidden_size": 100, "num_layers": 1, "cell": "lstm"}"""
)


@pytest.mark.parametrize(
    ("text", "config"),
    [
        (OLD, AcousticModelConfig(82, 19, NetworkConfig(128, 2, dropout=0.15))),
        (OLDEST, AcousticModelConfig(26, 62, NetworkConfig(100, 1, "lstm"))),
    ],
)
def test_configurations_of_earlier_bundles_and_checkpoints_are_read(text, config):
    assert AcousticModelConfig.from_dict(json.loads(text)) == config


def test_wrong_shapes_are_refused():
    with pytest.raises(ModelError, match="features"):
        small()(torch.randn(2, 7, 6), torch.tensor([7, 3]))
    with pytest.raises(ModelError, match="lengths"):
        small()(torch.randn(2, 7, 5), torch.tensor([7]))
