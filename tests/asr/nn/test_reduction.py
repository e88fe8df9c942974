"""Time reduction inside the network: exact on ragged batches, and the same in ONNX Runtime."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.backends import make_backend
from asr.nn.front import ConvolutionalFront, FrontOptions
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from asr.nn.pyramid import join_frames
from asr.types import ConfigError

NETWORKS = {
    "front": NetworkConfig(12, 3, front=FrontOptions()),
    "front of 4": NetworkConfig(12, 1, front=FrontOptions((8, 16), (2, 2))),
    "pyramid": NetworkConfig(12, 3, reductions=(2, 1)),
    "both": NetworkConfig(12, 3, front=FrontOptions((8,), (3,), 1), reductions=(3, 2)),
    "both, one direction": NetworkConfig(
        12, 2, bidirectional=False, front=FrontOptions(), reductions=(2,)
    ),
    "both around torch.nn.LSTM": NetworkConfig(
        12, 3, "torch-lstm", front=FrontOptions(), reductions=(1, 2)
    ),
}


def model_of(network: NetworkConfig) -> AcousticModel:
    torch.manual_seed(0)
    return AcousticModel(AcousticModelConfig(20, 7, network)).eval()


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5), padding=st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_an_utterance_gives_the_same_alone_and_in_any_batch(network, lengths, padding):
    model = model_of(network)
    features = torch.randn(len(lengths), max(lengths) + padding, 20)
    for b, length in enumerate(lengths):
        features[b, length:] = torch.nan
    with torch.inference_mode():
        batch = model(features, torch.tensor(lengths))
        for b, length in enumerate(lengths):
            (alone,) = model(features[b : b + 1, :length], torch.tensor([length]))
            assert len(alone) == -(-length // network.reduction)
            torch.testing.assert_close(batch[b, : len(alone)], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(0, 10, 20), (0, 0, 20), (2, 0, 20)], ids=str)
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_nothing_gives_nothing(network, shape, training):
    model = model_of(network).train(training)
    log_probs = model(torch.zeros(shape), torch.zeros(shape[0], dtype=torch.long))
    assert log_probs.shape == (shape[0], -(-shape[1] // network.reduction), 7)
    log_probs.sum().backward()
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_onnx_runtime_gives_what_torch_gives(network):
    model = model_of(network)
    features, lengths = torch.randn(4, 41, 20), torch.tensor([41, 1, 17, 40])
    with torch.inference_mode():
        expected = model(features, lengths)
    found = make_backend("onnx", model)(features, lengths)
    for b, frames in enumerate(model.num_frames(lengths).tolist()):
        torch.testing.assert_close(found[b, :frames], expected[b, :frames], atol=1e-4, rtol=0)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_shape_survives_json(network):
    config = AcousticModelConfig(20, 7, network)
    assert AcousticModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_front_is_two_convolutions_of_torch():
    torch.manual_seed(0)
    front = ConvolutionalFront(10, FrontOptions((4, 6), (2, 1)))
    features = torch.randn(1, 9, 10)
    first = torch.nn.functional.conv2d(
        features[None], *front.convolutions[0].parameters(), stride=(2, 2), padding=1
    ).relu()
    second = torch.nn.functional.conv2d(
        first, *front.convolutions[1].parameters(), stride=(1, 2), padding=1
    ).relu()  # (1, C, T, F)
    found, lengths = front(features, torch.tensor([9]))
    assert lengths.tolist() == [5]
    torch.testing.assert_close(found, second.transpose(1, 2).flatten(2))


def test_frames_are_joined_in_their_order():
    x = torch.arange(1.0, 11).view(1, 5, 2)
    joined, lengths = join_frames(x, torch.tensor([3]), 2)
    assert lengths.tolist() == [2]
    assert joined.tolist() == [[[1, 2, 3, 4], [5, 6, 0, 0], [0, 0, 0, 0]]]


def test_no_frames_are_none():
    for network in NETWORKS.values():
        model = model_of(network)
        assert model(torch.zeros(2, 0, 20), torch.tensor([0, 0])).shape == (2, 0, 7)


@pytest.mark.parametrize(
    "options",
    [
        {"channels": (), "time_strides": ()},
        {"channels": (8,), "time_strides": (2, 1)},
        {"channels": (0,), "time_strides": (2,)},
        {"channels": (8,), "time_strides": (0.5,)},
        {"feature_stride": 3},
    ],
)
def test_an_impossible_front_is_refused_with_a_remedy(options):
    with pytest.raises(ConfigError) as caught:
        FrontOptions(**options)
    assert caught.value.remedy


@pytest.mark.parametrize("reductions", [(2,), (2, 2, 2), (0, 1)])
def test_impossible_reductions_are_refused_with_a_remedy(reductions):
    with pytest.raises(ConfigError) as caught:
        NetworkConfig(12, 3, reductions=reductions)
    assert caught.value.remedy
