"""The backend is the one asked for, agrees with torch or says so, and keeps utterances apart."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from asr.backends import OnnxChunkModel, OnnxInt8Model, OnnxModel, choose_backend, make_backend
from asr.export import files
from asr.nn.kernels import library
from asr.nn.kernels.layer import int8_objection
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from asr.types import ConfigError, ModelError

F, V = 13, 7
PLAIN = AcousticModelConfig(F, V, NetworkConfig(16, 2))
PROJECTED = AcousticModelConfig(F, V, NetworkConfig(16, 2, proj_size=8))
SIMPLE = AcousticModelConfig(F, V, NetworkConfig(16, 2, "rnn"))
PEERS = AcousticModelConfig(F, V, NetworkConfig(16, 2, "torch-lstm"))
NO_INT8 = int8_objection(projection=False)
FASTEST = "torch" if library.MISSING is None else "onnx"
LENGTHS = torch.tensor([40, 1, 23, 40, 7])


def make_model(seed: int = 0) -> AcousticModel:
    torch.manual_seed(seed)
    return AcousticModel(PLAIN).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    return torch.randn(len(LENGTHS), 44, F, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "config", "device", "chosen"),
    [
        ("auto", PLAIN, "cpu", FASTEST),
        ("auto", SIMPLE, "cpu", FASTEST),
        ("auto", PEERS, "cpu", "onnx"),
        ("auto", PROJECTED, "cpu", "torch"),
        ("auto", PLAIN, "cuda", "torch"),
        ("torch", PLAIN, "cpu", "torch"),
        ("torch", PROJECTED, "cuda", "torch"),
        ("onnx", PLAIN, "cpu", "onnx"),
        ("onnx-int8", PLAIN, "cpu", "onnx-int8"),
        *([] if NO_INT8 else [("int8", PLAIN, "cpu", "int8"), ("int8", SIMPLE, "cpu", "int8")]),
    ],
)
def test_what_a_name_means(name, config, device, chosen):
    assert choose_backend(name, config, torch.device(device)) == chosen


@pytest.mark.parametrize(
    ("name", "config", "chosen"),
    [
        ("auto", PLAIN, "onnx"),
        ("auto", PROJECTED, "torch"),
        ("torch", PLAIN, "torch"),
        ("onnx-int8", PLAIN, "onnx-int8"),
    ],
)
def test_what_a_name_means_for_streams(name, config, chosen):
    assert choose_backend(name, config, torch.device("cpu"), chunks=True) == chosen


def test_without_the_compiled_kernel_auto_is_onnx(monkeypatch):
    monkeypatch.setattr("asr.backends.library.MISSING", "a compiler")
    assert choose_backend("auto", PLAIN, torch.device("cpu")) == "onnx"


@pytest.mark.parametrize(
    ("name", "config", "device", "said"),
    [
        ("abacus", PLAIN, "cpu", "onnx-int8"),
        ("onnx", PLAIN, "cuda", "not on cuda"),
        ("onnx-int8", PLAIN, "cuda:1", "not on cuda:1"),
        ("onnx", PROJECTED, "cpu", "projection"),
        ("onnx-int8", SIMPLE, "cpu", "8-bit"),
        ("int8", PROJECTED, "cpu", "projection"),
        ("int8", PEERS, "cpu", "torch-lstm"),
        ("int8", PLAIN, "cuda", "not on cuda"),
    ],
)
def test_what_cannot_be_is_refused(name, config, device, said):
    with pytest.raises(ConfigError, match=said) as caught:
        choose_backend(name, config, torch.device(device))
    assert caught.value.remedy


def test_torch_is_the_model_itself():
    model = make_model()
    assert make_backend("torch", model) is model


def test_8_bits_leave_the_model_as_it_is(features):
    if NO_INT8:
        pytest.skip(NO_INT8)
    model = make_model()
    with torch.inference_mode():
        before = model(features, LENGTHS)
        rounded = make_backend("int8", model)(features, LENGTHS)
        assert torch.equal(model(features, LENGTHS), before)
    assert 0 < (rounded.exp() - before.exp()).abs().max() < 0.05


def test_onnx_equals_torch(features):
    model = make_model()
    with torch.inference_mode():  # as the recogniser calls it
        found, expected = make_backend("onnx", model)(features, LENGTHS), model(features, LENGTHS)
    assert found.shape == expected.shape
    for row, other, length in zip(found, expected, LENGTHS, strict=True):
        torch.testing.assert_close(row[:length], other[:length], rtol=1e-5, atol=1e-5)


def test_int8_is_near_and_its_rows_are_their_own(features):
    """The operator rounds with one scale a call, yet a result has the same bits in any batch."""
    model, order = make_model(), torch.tensor([3, 0, 4, 1, 2])
    backend = make_backend("onnx-int8", model)
    with torch.inference_mode():
        batch, expected = backend(features, LENGTHS), model(features, LENGTHS)
        assert torch.equal(backend(features[order], LENGTHS[order]), batch[order])
        for b, length in enumerate(LENGTHS):
            alone = backend(features[b : b + 1, :length], LENGTHS[b : b + 1])
            assert torch.equal(alone[0], batch[b, :length])
            assert 0 < (batch - expected)[b, :length].abs().max() < 0.05
    assert batch.shape == expected.shape
    torch.testing.assert_close(batch.exp().sum(-1), torch.ones(5, 44))


@pytest.mark.parametrize("kind", [OnnxModel, OnnxInt8Model])
def test_a_backend_may_be_called_from_several_threads(features, kind):
    backend = kind(make_model())
    expected = [backend(features + shift, LENGTHS) for shift in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda shift: backend(features + shift, LENGTHS), range(8)))
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("kind", [OnnxModel, OnnxInt8Model, OnnxChunkModel])
def test_a_runtime_that_computes_something_else_is_noticed(monkeypatch, kind):
    to_onnx, to_chunks = files.to_onnx, files.chunks_to_onnx
    other = make_model(seed=1)
    monkeypatch.setattr(files, "to_onnx", lambda model, metadata: to_onnx(other))
    monkeypatch.setattr(files, "chunks_to_onnx", lambda model, metadata: to_chunks(other))
    with pytest.raises(ModelError, match=r"differ from torch's by up to \d") as caught:
        kind(make_model(seed=0))
    assert "torch" in caught.value.remedy


def test_torch_alone_does_not_wait_for_onnx(tiny_bundle_path):
    code = (
        "import sys; from asr.recognizer import Recognizer;"
        f"Recognizer.load({str(tiny_bundle_path)!r}, backend='torch');"
        "sys.exit('onnx' in sys.modules or 'onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
