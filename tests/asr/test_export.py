"""The ONNX file: one recurrent operator a layer, and in ONNX Runtime what torch computes."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime import InferenceSession

from asr import __version__
from asr.export.files import quantise, save_onnx
from asr.export.whole import to_onnx
from asr.nn.cells import CELLS
from asr.nn.model import PEER, AcousticModel, AcousticModelConfig, NetworkConfig
from asr.types import ConfigError

F, V = 5, 7


def make_model(
    cell: str = "peephole", seed: int = 0, scale: float = 1.0, **options
) -> AcousticModel:
    """Random weights; peepholes too, which a new model has at zero."""
    torch.manual_seed(seed)
    options = {"hidden_size": 8, "num_layers": 2, **options}
    model = AcousticModel(AcousticModelConfig(F, V, NetworkConfig(cell=cell, **options))).eval()
    with torch.no_grad():
        for name, weight in model.recurrent.named_parameters():
            if "peephole" in name:
                weight.uniform_(-1, 1)
            weight.mul_(scale)
    return model.requires_grad_(False)


def make_session(proto) -> InferenceSession:
    return InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


def run(session: InferenceSession, features: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    inputs = {"features": features.numpy(), "lengths": np.array(lengths, dtype=np.int64)}
    return torch.from_numpy(session.run(["log_probs"], inputs)[0])


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


models = st.builds(
    make_model,
    cell=st.sampled_from([*CELLS, PEER]),
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1.0, 2.0]),
    hidden_size=st.sampled_from([1, 3, 8, 17]),
    num_layers=st.integers(1, 3),
    bidirectional=st.booleans(),
)
ragged = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(models, ragged, st.integers(0, 3), st.integers(0, 1000))
def test_onnx_runtime_computes_what_torch_does(model, lengths, padding, seed):
    features = noise(seed, len(lengths), max(lengths) + padding, F)
    found = run(make_session(to_onnx(model)), features, lengths)
    expected = model(features, torch.tensor(lengths))
    assert found.dtype == torch.float32
    assert found.shape == expected.shape
    assert found.isfinite().all()
    for row, other, length in zip(found, expected, lengths, strict=True):
        torch.testing.assert_close(row[:length], other[:length], rtol=2e-5, atol=2e-5)


@settings(max_examples=20, deadline=None)
@given(models, ragged, st.integers(0, 1000))
def test_no_result_depends_on_the_batch_or_on_what_lies_beyond_a_length(model, lengths, seed):
    session = make_session(to_onnx(model))
    features = noise(seed, len(lengths), max(lengths), F)
    for row, length in zip(features, lengths, strict=True):
        row[length:] = 1e6
    batch = run(session, features, lengths)
    for row, own, length in zip(features, batch, lengths, strict=True):
        alone = run(session, row[None, :length], [length])
        torch.testing.assert_close(alone[0], own[:length], rtol=1e-5, atol=1e-5)
        assert own.isfinite().all()


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("cell", [*CELLS, PEER])
def test_every_layer_is_one_operator_of_onnx(cell, bidirectional):
    proto = to_onnx(make_model(cell, num_layers=3, bidirectional=bidirectional))
    operator = "RNN" if cell == "rnn" else "LSTM"
    nodes = [node for node in proto.graph.node if node.op_type in ("LSTM", "RNN", "GRU", "Loop")]
    assert [(node.domain, node.op_type) for node in nodes] == [("", operator)] * 3
    for node in nodes:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        direction = b"bidirectional" if bidirectional else b"forward"
        assert attributes["direction"].s == direction
        assert node.input[4] == "sequence_lens"
        assert (len(node.input) == 8) == (cell in ("peephole", "coupled"))
    assert {one.domain for one in proto.opset_import} == {""}


def test_an_open_forget_gate_holds_a_value_to_the_last_bit():
    """The LSTM of 1997 remembers for ever, so its gate has to be 1 and not almost 1."""
    model = make_model("lstm-1997", hidden_size=23, num_layers=1, bidirectional=False)
    layer = model.recurrent.layers[0]
    layer.weight_hh.zero_()
    layer.bias[:, : layer.hidden_size] = -200.0  # the input gate is closed ...
    layer.weight_ih[:, : layer.hidden_size] = 400.0  # ... except in the first frame
    features = torch.zeros(1, 2000, F)
    features[0, 0] = 1.0
    found = run(make_session(to_onnx(model)), features, [2000])[0]
    assert torch.equal(found[1:], found[1:2].expand(1999, V))
    assert not torch.allclose(found[1], found[0])


@pytest.mark.parametrize("cell", CELLS)
def test_long_utterances(cell):
    model, features = make_model(cell), noise(1, 2, 2000, F)
    found = run(make_session(to_onnx(model)), features, [2000, 1500])
    expected = model(features, torch.tensor([2000, 1500]))
    assert (found - expected)[0].abs().max() < 1e-4
    assert (found - expected)[1, :1500].abs().max() < 1e-4


def test_noise_and_dropout_are_for_training():
    plain, noisy = make_model(), make_model(dropout=0.5, input_noise=0.6, weight_noise=0.075)
    assert to_onnx(noisy.train()).graph == to_onnx(plain).graph


def test_the_file_says_what_it_is(tmp_path):
    path = tmp_path / "model.onnx"
    model, features = make_model(), noise(2, 2, 9, F)
    save_onnx(model, path, metadata={"tokens": '["<blank>", "a"]'})
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape, i.type) for i in session.get_inputs()] == [
        ("features", ["B", "T", F], "tensor(float)"),
        ("lengths", ["B"], "tensor(int64)"),
    ]
    [output] = session.get_outputs()
    assert (output.name, output.shape) == ("log_probs", ["B", "T", V])
    about = session.get_modelmeta()
    assert about.producer_name == "peephole-asr"
    assert about.custom_metadata_map == {"tokens": '["<blank>", "a"]'}
    assert to_onnx(model).producer_version == __version__
    assert "log_probs: float32 (B, T, V)" in about.description
    found, expected = run(session, features, [9, 4]), model(features, torch.tensor([9, 4]))
    torch.testing.assert_close(found[1, :4], expected[1, :4], rtol=1e-5, atol=1e-5)


# 8 bits


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("cell", [cell for cell in (*CELLS, PEER) if cell != "rnn"])
def test_eight_bits_stay_near(cell, bidirectional):
    model = make_model(cell, hidden_size=32, bidirectional=bidirectional)
    proto = to_onnx(model, {"name": "kept"})
    small = quantise(proto)
    names = [node.op_type for node in small.graph.node]
    assert names.count("DynamicQuantizeLSTM") == 2
    assert "LSTM" not in names
    assert small.ByteSize() < 0.5 * proto.ByteSize()
    assert [(one.key, one.value) for one in small.metadata_props] == [("name", "kept")]
    lengths, features = [50, 1, 23], noise(3, 3, 50, F)
    found, exact = (
        run(make_session(small), features, lengths),
        model(features, torch.tensor(lengths)),
    )
    for row, other, length in zip(found, exact, lengths, strict=True):
        assert (row - other)[:length].abs().max() < 0.05
    assert found.isfinite().all()


@pytest.mark.parametrize("cell", ["peephole", "coupled"])
def test_peepholes_survive_the_rounding(cell):
    model, lengths, features = make_model(cell, hidden_size=32), [50], noise(4, 1, 50, F)
    rounded = run(make_session(quantise(to_onnx(model))), features, lengths)
    exact = model(features, torch.tensor(lengths))
    for layer in model.recurrent.layers:
        layer.peephole.zero_()
    blind = model(features, torch.tensor(lengths))
    assert (rounded - exact).abs().mean() < 0.2 * (blind - exact).abs().mean()


def test_rounding_leaves_neither_files_nor_words(tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    quantise(to_onnx(make_model()))
    assert list(tmp_path.iterdir()) == []
    assert (caplog.records, capfd.readouterr()) == ([], ("", ""))


# What cannot be


def test_a_projection_is_refused(tmp_path):
    model = make_model(proj_size=4)
    with pytest.raises(ConfigError, match="no projection"):
        to_onnx(model)
    with pytest.raises(ConfigError, match="no projection"):
        save_onnx(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_eight_bits_of_a_simple_network_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no 8-bit simple"):
        save_onnx(make_model("rnn"), tmp_path / "model.onnx", int8=True)
    assert list(tmp_path.iterdir()) == []
