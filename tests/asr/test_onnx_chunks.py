"""Streams in ONNX Runtime: what torch computes by chunks, and as independent of other streams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession

from asr.backends import make_chunk_backend
from asr.export.files import make_graph
from asr.features import FeatureConfig, FeatureExtractor
from asr.nn.cells import CELLS
from asr.nn.chunks import Chunking
from asr.nn.front import FrontOptions
from asr.nn.model import PEER, AcousticModel, AcousticModelConfig, NetworkConfig
from asr.stream import Streamer, read_whole
from asr.types import ConfigError

V = 5
SHAPES = {
    **{cell: {"cell": cell} for cell in CELLS},
    "one direction": {"bidirectional": False},
    "front": {"front": FrontOptions((2, 3), (2, 2))},
    "joined": {"reductions": (2, 1)},
    "front and joined": {"front": FrontOptions((2,), (2,)), "reductions": (1, 3)},
}
CHUNKINGS = [Chunking(4, 3), Chunking(1, 0), Chunking(5, 9)]


@pytest.fixture(scope="module")
def extractor():
    torch.manual_seed(0)
    extractor = FeatureExtractor(FeatureConfig(num_mels=7)).eval()
    extractor.mean.normal_(-5.0)
    return extractor


def model_of(seed=1, size=7, **shape):
    torch.manual_seed(seed)
    network = NetworkConfig(**{"hidden_size": 8, "num_layers": 3, **shape})
    model = AcousticModel(AcousticModelConfig(size, V, network)).eval()
    with torch.no_grad():
        for name, weight in model.recurrent.named_parameters():
            weight.uniform_(-1, 1) if "peephole" in name else weight.mul_(1.5)
    return model.requires_grad_(False)


def speech(seconds, seed=0):
    noise = torch.randn(int(16_000 * seconds), generator=torch.Generator().manual_seed(seed))
    return 0.1 * noise * (torch.sin(torch.linspace(0, 20, len(noise))) + 1.1)


UTTERANCES = [speech(seconds, seed) for seed, seconds in enumerate((0.7, 0.06, 1.6))]


@pytest.mark.parametrize("shape", SHAPES)
def test_chunks_are_torchs_and_the_same_alone_and_in_a_batch_of_sessions(extractor, shape):
    model = model_of(**SHAPES[shape])
    backend = make_chunk_backend("onnx", model)
    for chunking in CHUNKINGS:
        expected = read_whole(Streamer(extractor, model, chunking), UTTERANCES)
        streamer = Streamer(extractor, backend, chunking)
        for row, own, samples in zip(
            read_whole(streamer, UTTERANCES), expected, UTTERANCES, strict=True
        ):
            torch.testing.assert_close(row, own, rtol=0, atol=1e-5)
            torch.testing.assert_close(read_whole(streamer, [samples])[0], row, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", ["peephole", "front and joined"])
def test_pieces_of_any_size_change_no_bit(extractor, shape):
    backend = make_chunk_backend("onnx", model_of(**SHAPES[shape]))
    streamer, samples = Streamer(extractor, backend, Chunking(4, 3)), UTTERANCES[0]
    [expected] = read_whole(streamer, [samples])
    for size in (160, 5000):
        session, found = streamer.begin(), []
        for piece in samples.split(size):
            session.push(piece)
            while streamer.is_ready(session):
                found += streamer.step([session])
        session.end()
        while streamer.is_ready(session):
            found += streamer.step([session])
        assert torch.equal(torch.cat(found), expected)


@pytest.mark.parametrize("shape", ["peephole", "coupled", "front and joined"])
def test_one_long_chunk_is_the_graph_of_whole_utterances(extractor, shape):
    model = model_of(**SHAPES[shape])
    features = torch.randn(2, 40, 7, generator=torch.Generator().manual_seed(0))
    lengths, frames = torch.tensor([40, 23]), model.num_frames(torch.tensor([40, 23]))
    backend = make_chunk_backend("onnx", model)
    window = torch.tensor([[0, 40], [0, 40]])
    found, _ = backend.chunk(features, lengths, window, 40, backend.initial_states(2))
    whole = InferenceSession(make_graph(model).SerializeToString())
    inputs = {"features": features.numpy(), "lengths": lengths.numpy()}
    for row, own, count in zip(found, whole.run(None, inputs)[0], frames, strict=True):
        np.testing.assert_allclose(row[:count], own[:count], rtol=0, atol=1e-5)


def test_in_8_bits_sessions_are_near_and_to_the_bit_as_alone(extractor):
    model = model_of(hidden_size=16, **SHAPES["front and joined"])
    streamer = Streamer(extractor, make_chunk_backend("onnx-int8", model), Chunking(4, 3))
    exact = read_whole(Streamer(extractor, model, Chunking(4, 3)), UTTERANCES)
    for row, own, samples in zip(read_whole(streamer, UTTERANCES), exact, UTTERANCES, strict=True):
        assert torch.equal(read_whole(streamer, [samples])[0], row)
        assert 0 < (row - own).abs().max() < 0.1


def test_a_graph_keeps_each_weight_once(extractor):
    model = model_of(hidden_size=32)
    weights = 4 * sum(weight.numel() for weight in model.parameters())
    whole = make_graph(model).ByteSize()
    assert weights < make_graph(model, chunks=True).ByteSize() < whole + 20_000
    small = make_graph(model, int8=True).ByteSize()
    assert make_graph(model, int8=True, chunks=True).ByteSize() < small + 20_000


def test_the_graph_says_what_it_takes():
    session = InferenceSession(make_graph(model_of(num_layers=1), chunks=True).SerializeToString())
    states = [("h0", [1, "B", 8]), ("c0", [1, "B", 8])]
    assert [(each.name, each.shape) for each in session.get_inputs()] == [
        ("features", ["B", "T", 7]),
        ("lengths", ["B"]),
        ("frames", [1]),
        *states,
    ]
    assert [(each.name, each.shape) for each in session.get_outputs()] == [
        ("log_probs", ["B", "chunk", V]),
        *((f"{name}_next", shape) for name, shape in states),
    ]
    for name in ("features", "lengths", "frames", "window", "h0", "log_probs"):
        assert f"{name}" in session.get_modelmeta().description


def test_what_has_no_chunks_is_refused():
    with pytest.raises(ConfigError, match="by chunks"):
        make_graph(model_of(cell=PEER), chunks=True)
    with pytest.raises(ConfigError, match="projection"):
        make_graph(model_of(proj_size=3), chunks=True)
    with pytest.raises(ConfigError, match="8-bit"):
        make_graph(model_of(cell="rnn"), int8=True, chunks=True)
