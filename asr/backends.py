"""What computes the log-probabilities: torch, or ONNX Runtime on the CPU.

A backend is called as the model is: ``features (B, T, F)`` and ``lengths (B,)`` to ``log_probs
(B, T, V)``. The ONNX graphs are made in memory from the model's own weights, so there is no second
file that could differ from them, and compared with torch before they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from asr.bundle.golden import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE
from asr.nn.model import AcousticModel, AcousticModelConfig
from asr.types import ConfigError, ModelError

if TYPE_CHECKING:
    import onnx
    import onnxruntime

__all__ = [
    "AUTO",
    "BACKENDS",
    "Backend",
    "OnnxInt8Model",
    "OnnxModel",
    "choose_backend",
    "make_backend",
]

AUTO, TORCH, ONNX, INT8 = "auto", "torch", "onnx", "onnx-int8"
BACKENDS = (AUTO, TORCH, ONNX, INT8)
CHECK_LENGTHS = (60, 1, 37)  # frames

Backend = Callable[[Tensor, Tensor], Tensor]


def choose_backend(name: str, config: AcousticModelConfig, device: torch.device) -> str:
    """The backend that ``name`` means for a model of this shape on ``device``.

    ``auto`` is ONNX Runtime on the CPU if it has the model's operators, and else torch.

    Raises:
        ConfigError: there is no such backend, or it cannot run this model there.
    """
    if name not in BACKENDS:
        raise ConfigError(
            f"unknown backend {name!r}", remedy=f"choose one of {', '.join(BACKENDS)}"
        )
    if name == TORCH or (name == AUTO and device.type != "cpu"):
        return TORCH
    if device.type != "cpu":
        raise ConfigError(
            f"the backend {name} runs on the CPU, not on {device}",
            remedy="choose the device cpu, or the backend torch",
        )
    from asr.export import obstacle  # who runs torch does not wait for the import of onnx

    error = obstacle(config, int8=name == INT8)
    if name == AUTO:
        return TORCH if error else ONNX
    if error:
        raise error
    return name


def make_backend(name: str, model: AcousticModel) -> Backend:
    """``model`` on a backend that :func:`choose_backend` gave.

    Raises:
        ModelError: ONNX Runtime does not compute what torch does.
    """
    if name == TORCH:
        return model
    return OnnxInt8Model(model) if name == INT8 else OnnxModel(model)


class OnnxModel:
    """An acoustic model in ONNX Runtime, to about 1e-6 of torch and as independent of the batch."""

    def __init__(self, model: AcousticModel) -> None:
        """Build the graph, and try it.

        Raises:
            ConfigError: see :func:`asr.export.obstacle`.
            ModelError: ONNX Runtime gives other log-probabilities than torch does.
        """
        from asr.export import to_onnx

        self._session = _session(to_onnx(model), torch.get_num_threads())
        _check(self._session, model)

    def __call__(self, features: Tensor, lengths: Tensor) -> Tensor:
        """As :meth:`asr.nn.model.AcousticModel.forward`."""
        return _run(self._session, features, lengths)


class OnnxInt8Model:
    """An acoustic model with 8-bit matrices (see :func:`asr.export.quantise`).

    Its activations are rounded with one scale for the whole call. So each utterance is run alone,
    at its own length and on one thread, several at a time: its result is its own, as with the other
    backends, and that is no slower than one batch on all threads.
    """

    def __init__(self, model: AcousticModel) -> None:
        """Build the graph; it is compared with torch before its matrices are rounded.

        Raises:
            ConfigError, ModelError: see :class:`OnnxModel`.
        """
        from asr.export import quantise, to_onnx

        proto = to_onnx(model)
        _check(_session(proto, 1), model)
        self._session = _session(quantise(proto), 1)
        self._threads = torch.get_num_threads()
        self._reduction = model.config.network.reduction

    def __call__(self, features: Tensor, lengths: Tensor) -> Tensor:
        """As :meth:`asr.nn.model.AcousticModel.forward`; uniform beyond the lengths."""

        def run(b: int) -> Tensor:
            return _run(self._session, features[b : b + 1, : int(lengths[b])], lengths[b : b + 1])

        with ThreadPoolExecutor(self._threads) as pool:
            rows = list(pool.map(run, range(len(lengths))))
        frames = -(-features.shape[1] // self._reduction)
        log_probs = torch.zeros(len(rows), frames, rows[0].shape[2]).log_softmax(dim=-1)
        for b, row in enumerate(rows):
            log_probs[b, : row.shape[1]] = row[0]
        return log_probs


def _session(proto: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; warnings are about graph optimisations
    # Waiting threads would burn a core each between calls, and slow down whoever else computes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena and the plans it keeps for each shape never shrink: one long batch, and a server
    # holds its memory for ever. Without them calls are as fast.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _run(session: onnxruntime.InferenceSession, features: Tensor, lengths: Tensor) -> Tensor:
    inputs = {"features": features.float().numpy(), "lengths": lengths.numpy()}
    (log_probs,) = session.run(["log_probs"], inputs)
    return torch.from_numpy(log_probs)


def _check(session: onnxruntime.InferenceSession, model: AcousticModel) -> None:
    """Compare with torch on a second of noise, in utterances of unequal lengths."""
    lengths = torch.tensor(CHECK_LENGTHS)
    noise = torch.Generator().manual_seed(0)
    size = len(lengths), int(lengths.max()), model.config.input_size
    features = torch.randn(size, generator=noise)
    with torch.inference_mode():
        expected, found = model(features, lengths), _run(session, features, lengths)
    valid = torch.arange(expected.shape[1]) < model.num_frames(lengths)[:, None]
    distance = (found - expected).abs()[valid]
    allowed = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * expected.abs()[valid]
    if not (distance <= allowed).all():  # false for NaN too
        raise ModelError(
            f"ONNX Runtime's log-probabilities differ from torch's by up to {distance.max():.2g}",
            remedy="choose the backend torch, or another version of onnxruntime",
        )
