"""Bidirectional layers by chunks: what is defined, against torch, and what must not matter."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from asr.nn.cells import CELLS
from asr.nn.chunks import Chunking, run_chunks
from asr.nn.front import FrontOptions
from asr.nn.kernels import KERNELS
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from asr.nn.recurrent import RecurrentStack
from asr.types import ConfigError

HERE = [name for name, kernel in KERNELS.items() if not kernel.missing and name != "triton"]


def directions(lstm):
    """A torch LSTM's two directions, each as a layer of its own."""
    found = []
    for suffix in ("", "_reverse"):
        one = nn.LSTM(lstm.input_size, lstm.hidden_size)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(one, f"{name}_l0", getattr(lstm, f"{name}_l0{suffix}"))
        found.append(one)
    return found


def by_definition(layers, x, frames, ahead):
    """Latency-controlled layers on one sequence ``x (T, I)``, spelled out with torch.nn.LSTM."""
    states = [None] * len(layers)
    outputs = []
    for start in range(0, len(x), frames):
        block = x[start : start + frames + ahead, None]
        for number, layer in enumerate(layers):
            forward, backward = directions(layer)
            now, state = forward(block[:frames], states[number])
            states[number] = state
            parts = [now]
            if len(block) > frames:
                parts.append(forward(block[frames:], state)[0])
            back = backward(block.flip(0))[0].flip(0)
            block = torch.cat([torch.cat(parts), back], dim=2)
        outputs.append(block[:frames, 0])
    return torch.cat(outputs)


@pytest.mark.parametrize("kernel", HERE)
@pytest.mark.parametrize(("frames", "ahead"), [(1, 0), (3, 2), (4, 7), (5, 5), (30, 0)])
def test_chunks_are_what_the_definition_says_with_torchs_own_lstm(kernel, frames, ahead):
    torch.manual_seed(0)
    theirs = [nn.LSTM(4, 5, bidirectional=True), nn.LSTM(10, 5, bidirectional=True)]
    mine = RecurrentStack(4, 5, 2, batch_first=True, bidirectional=True, cell="lstm", kernel=kernel)
    for layer, lstm in zip(mine.layers, theirs, strict=True):
        layer.load_torch(lstm)
    x, lengths = torch.randn(3, 13, 4), torch.tensor([13, 6, 1])
    with torch.no_grad():
        found = run_chunks(mine, x, lengths, Chunking(frames, ahead))
        for b, length in enumerate(lengths):
            expected = by_definition(theirs, x[b, :length], frames, ahead)
            torch.testing.assert_close(found[b, :length], expected, rtol=1e-4, atol=1e-5)


SHAPES = [
    {"cell": cell, "bidirectional": both}
    for cell, both in itertools.product(sorted(CELLS), (True, False))
] + [
    {"proj_size": 3},
    {"reductions": (2, 1)},
    {"reductions": (2, 3)},
    {"front": FrontOptions((2, 2), (2, 2))},
    {"front": FrontOptions((2,), (2,)), "reductions": (2, 1)},
]


def model_of(**shape):
    torch.manual_seed(1)
    return AcousticModel(AcousticModelConfig(5, 4, NetworkConfig(6, 3, **shape))).eval()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_chunk_over_all_is_the_whole_network(shape):
    model = model_of(**shape)
    features, lengths = torch.randn(3, 25, 5), torch.tensor([25, 11, 2])
    whole = model(features, lengths)
    for chunking in (Chunking(25, 0), Chunking(40, 9)):
        found = model(features, lengths, chunking)
        for b, frames in enumerate(model.num_frames(lengths)):
            torch.testing.assert_close(found[b, :frames], whole[b, :frames], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_sequence_is_the_same_alone_and_in_any_batch(shape):
    model = model_of(**shape)
    features, lengths = torch.randn(3, 25, 5), torch.tensor([25, 11, 2])
    together = model(features, lengths, Chunking(2, 1))
    features[1, 11:] = 1e3  # what lies beyond the end
    for b in range(3):
        alone = model(features[b : b + 1, : lengths[b]], lengths[b : b + 1], Chunking(2, 1))
        frames = int(model.num_frames(lengths)[b])
        torch.testing.assert_close(together[b, :frames], alone[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nothing_beyond_the_look_ahead_is_read(shape):
    model = model_of(**shape)
    reduction = model.config.network.reduction
    features, lengths = torch.randn(1, 12 * reduction, 5), torch.tensor([12 * reduction])
    found = model(features, lengths, Chunking(3, 2))
    # One frame of convolutions on top: it is exact, and reads its filters' edges.
    edge = 3 if model.front is not None else 0
    changed = features.clone()
    changed[:, (3 + 2) * reduction + edge :] += 1.0
    again = model(changed, lengths, Chunking(3, 2))
    assert torch.equal(found[:, :3], again[:, :3])
    assert not torch.equal(found[:, 3:], again[:, 3:])


@pytest.mark.parametrize("kernel", ["cpu", "triton"])
@pytest.mark.parametrize(
    "shape",
    [
        *({"cell": cell} for cell in sorted(CELLS)),
        {"bidirectional": False},
        {"front": FrontOptions((2,), (2,)), "reductions": (2,)},
    ],
    ids=str,
)
def test_every_kernel_reads_by_chunks_what_the_reference_reads(monkeypatch, kernel, shape):
    known = KERNELS[kernel]
    if known.missing:
        pytest.skip(known.missing)
    # Triton's interpreter runs on the CPU.
    monkeypatch.setitem(KERNELS, kernel, replace(known, devices=(), capability=(0, 0)))
    features, lengths = torch.randn(2, 9, 5), torch.tensor([9, 4])
    found = []
    for name in (kernel, "reference"):
        torch.manual_seed(1)
        network = NetworkConfig(3, 2, kernel=name, **shape)
        model = AcousticModel(AcousticModelConfig(5, 4, network)).eval()
        with torch.no_grad():
            for parameter, weight in model.recurrent.named_parameters():
                if "peephole" in parameter:
                    weight.uniform_(-1, 1)
            found.append(model(features, lengths, Chunking(2, 1)))
    for row, expected, frames in zip(*found, model.num_frames(lengths), strict=True):
        torch.testing.assert_close(row[:frames], expected[:frames], rtol=0, atol=1e-5)


def test_a_longer_look_ahead_comes_nearer_to_the_whole():
    model = model_of()
    features, lengths = torch.randn(8, 60, 5), torch.full((8,), 60)
    whole = model(features, lengths)
    distances = [
        (model(features, lengths, Chunking(5, ahead)) - whole).abs().mean().item()
        for ahead in (0, 5, 20)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.1 * distances[0]


def test_gradients_flow_through_the_carried_state():
    model = model_of().train()
    features = torch.randn(1, 12, 5, requires_grad=True)
    model(features, torch.tensor([12]), Chunking(2, 1))[0, -1, 1].backward()
    assert (features.grad[0].abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("values", [(0, 1), (1, -1), (1.5, 0), (True, 0)])
def test_impossible_chunks_are_refused(values):
    with pytest.raises(ConfigError):
        Chunking(*values)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_of_no_frames_there_are_none(shape):
    nothing = torch.zeros(2, dtype=torch.long)
    assert model_of(**shape)(torch.zeros(2, 0, 5), nothing, Chunking(2, 1)).shape == (2, 0, 4)


def test_torchs_own_lstm_has_no_chunks():
    with pytest.raises(ConfigError, match="another cell"):
        model_of(cell="torch-lstm")(torch.randn(1, 4, 5), torch.tensor([4]), Chunking(2, 0))


def test_lower_layers_have_no_output_by_chunks():
    with pytest.raises(ConfigError, match="by chunks"):
        model_of().with_intermediate(torch.randn(1, 4, 5), torch.tensor([4]), [1], Chunking(2, 0))
