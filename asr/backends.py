"""What computes the log-probabilities: torch, in float32 or in 8 bits, or ONNX Runtime on the CPU.

A backend is called as the model is: ``features (B, T, F)`` and ``lengths (B,)`` to ``log_probs
(B, T, V)``. For streams there is one that computes chunks as the model does. The ONNX graphs are
made in memory from the model's own weights, so there is no second file that could differ from them,
and compared with torch before they are used.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from asr.bundle.golden import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE
from asr.export.obstacle import obstacle
from asr.nn.chunks import States
from asr.nn.kernels import library
from asr.nn.kernels.layer import int8_objection
from asr.nn.layer import pack_weights
from asr.nn.model import PEER, AcousticModel, AcousticModelConfig
from asr.stream import ChunkModel
from asr.types import ConfigError, ModelError

if TYPE_CHECKING:
    import onnx
    import onnxruntime

__all__ = [
    "AUTO",
    "BACKENDS",
    "Backend",
    "OnnxChunkModel",
    "OnnxInt8Model",
    "OnnxModel",
    "choose_backend",
    "make_backend",
    "make_chunk_backend",
]

AUTO, TORCH, INT8, ONNX, ONNX_INT8 = "auto", "torch", "int8", "onnx", "onnx-int8"
BACKENDS = (AUTO, TORCH, INT8, ONNX, ONNX_INT8)
CHECK_LENGTHS = (60, 1, 37)  # frames
CHECK_CHUNK, CHECK_LOOK_AHEAD = 9, 4  # frames of log-probabilities

Result = TypeVar("Result")
Backend = Callable[[Tensor, Tensor], Tensor]


def choose_backend(
    name: str, config: AcousticModelConfig, device: torch.device, *, chunks: bool = False
) -> str:
    """The backend that ``name`` means for a model of this shape on ``device``.

    ``chunks``: it is to compute streams.

    ``auto`` is the fastest of those that agree with torch to 1e-5 (docs/performance.md has the
    measurements). For whole utterances that is torch with our own kernel. ONNX Runtime, if it has
    the model's operators, computes streams on the CPU, and everything where that kernel is missing.

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
    if name == INT8:
        _check_int8(config)
        return INT8
    error = obstacle(config, int8=name == ONNX_INT8, chunks=chunks)
    if name == AUTO:
        has_kernel = library.MISSING is None and config.network.cell != PEER
        return TORCH if error or (has_kernel and not chunks) else ONNX
    if error:
        raise error
    return name


def _check_int8(config: AcousticModelConfig) -> None:
    if config.network.cell == PEER:
        raise ConfigError(f"{PEER} has no matrices of 8 bits", remedy="choose another backend")
    if reason := int8_objection(config.network.proj_size > 0):
        raise ConfigError(f"no 8 bits: {reason}", remedy="choose another backend")


def make_backend(name: str, model: AcousticModel) -> Backend:
    """``model`` on a backend that :func:`choose_backend` gave; its weights are not to change.

    Raises:
        ModelError: ONNX Runtime does not compute what torch does.
    """
    if name in (TORCH, INT8):
        return _packed(model, int8=name == INT8)
    return OnnxInt8Model(model) if name == ONNX_INT8 else OnnxModel(model)


def make_chunk_backend(name: str, model: AcousticModel) -> ChunkModel:
    """What computes ``model`` by chunks on a backend that :func:`choose_backend` gave.

    Raises:
        ConfigError: the model cannot be run by chunks.
        ModelError: ONNX Runtime does not compute what torch does.
    """
    if name in (TORCH, INT8):
        return _packed(model, int8=name == INT8)
    return OnnxChunkModel(model, int8=name == ONNX_INT8)


def _packed(model: AcousticModel, *, int8: bool) -> AcousticModel:
    if int8:
        with torch.inference_mode(False):
            model = copy.deepcopy(model)  # others may compute the same model in float32
    pack_weights(model, int8=int8)
    return model


class OnnxModel:
    """An acoustic model in ONNX Runtime, to about 1e-6 of torch and as independent of the batch.

    It computes with as many threads as torch has in the thread that calls it.
    """

    def __init__(self, model: AcousticModel) -> None:
        """Build the graph, and try it.

        Raises:
            ConfigError: see :func:`asr.export.obstacle.obstacle`.
            ModelError: ONNX Runtime gives other log-probabilities than torch does.
        """
        from asr.export.files import make_graph  # who runs torch does not wait for onnx

        self._sessions = _Sessions(lambda: make_graph(model))
        _check(self._sessions.here(), model)

    def __call__(self, features: Tensor, lengths: Tensor) -> Tensor:
        """As :meth:`asr.nn.model.AcousticModel.forward`."""
        return _run(self._sessions.here(), features, lengths)


class OnnxInt8Model:
    """An acoustic model with 8-bit matrices (see :func:`asr.export.files.quantise`).

    Its activations are rounded with one scale for the whole call. So each utterance is run alone,
    at its own length and on one thread, several at a time: its result is its own, as with the other
    backends, and that is no slower than one batch on all threads.
    """

    def __init__(self, model: AcousticModel) -> None:
        """Build the graph; it is compared with torch before its matrices are rounded.

        Raises:
            ConfigError, ModelError: see :class:`OnnxModel`.
        """
        from asr.export.files import make_graph

        _check(_session(make_graph(model), 1), model)
        self._session = _session(make_graph(model, int8=True), 1)
        self._reduction = model.config.network.reduction

    def __call__(self, features: Tensor, lengths: Tensor) -> Tensor:
        """As :meth:`asr.nn.model.AcousticModel.forward`; uniform beyond the lengths."""

        def run(b: int) -> Tensor:
            return _run(self._session, features[b : b + 1, : int(lengths[b])], lengths[b : b + 1])

        rows = _map_in_threads(run, len(lengths))
        frames = -(-features.shape[1] // self._reduction)
        log_probs = torch.zeros(len(rows), frames, rows[0].shape[2]).log_softmax(dim=-1)
        for b, row in enumerate(rows):
            log_probs[b, : row.shape[1]] = row[0]
        return log_probs


class OnnxChunkModel:
    """The chunks of an acoustic model in ONNX Runtime, to about 1e-6 of torch.

    With ``int8`` its matrices have 8 bits, and each stream is run alone (see
    :class:`OnnxInt8Model`).
    """

    def __init__(self, model: AcousticModel, *, int8: bool = False) -> None:
        """Build the graph, and try it before its matrices are rounded.

        Raises:
            ConfigError: see :func:`asr.export.obstacle.obstacle`.
            ModelError: ONNX Runtime gives other log-probabilities than torch does.
        """
        from asr.export.files import make_graph

        self._model = model
        self._sessions = _Sessions(lambda: make_graph(model, chunks=True))
        session = self._sessions.here()
        self._inputs = {each.name for each in session.get_inputs()}
        self._outputs = [each.name for each in session.get_outputs()]
        self._alone = False
        _check_chunks(self, model)
        if int8:
            self._alone = True
            self._sessions = _Sessions(lambda: make_graph(model, int8=True, chunks=True), 1)

    @property
    def config(self) -> AcousticModelConfig:
        """The model's shape."""
        return self._model.config

    def initial_states(self, streams: int) -> list[tuple[Tensor, Tensor]]:
        """As :meth:`asr.nn.model.AcousticModel.initial_states`."""
        return self._model.initial_states(streams)

    def chunk(
        self, features: Tensor, lengths: Tensor, window: Tensor, frames: int, states: States
    ) -> tuple[Tensor, States]:
        """As :meth:`asr.nn.model.AcousticModel.chunk`."""
        if not self._alone:
            return self._run(features, lengths, window, frames, states)

        def run(b: int) -> tuple[Tensor, States]:
            one, length = slice(b, b + 1), int(lengths[b])
            own = [(h[:, one], c[:, one]) for h, c in states]
            return self._run(features[one, :length], lengths[one], window[one], frames, own)

        rows, ends = zip(*_map_in_threads(run, len(lengths)), strict=True)
        joined = [
            (torch.cat([h for h, _ in layer], dim=1), torch.cat([c for _, c in layer], dim=1))
            for layer in zip(*ends, strict=True)
        ]
        return pad_sequence([row[0] for row in rows], batch_first=True), joined

    def _run(
        self, features: Tensor, lengths: Tensor, window: Tensor, frames: int, states: States
    ) -> tuple[Tensor, States]:
        least = frames * self.config.network.reduction + 1  # so that there is look-ahead
        features = functional.pad(features, (0, 0, 0, max(0, least - features.shape[1])))
        values = {"features": features.float(), "lengths": lengths, "window": window}
        values["frames"] = torch.tensor([frames])
        for number, (h, c) in enumerate(states):
            values |= {f"h{number}": h, f"c{number}": c}
        inputs = {name: values[name].numpy() for name in self._inputs}
        found = map(torch.from_numpy, self._sessions.here().run(self._outputs, inputs))
        after = dict(zip(self._outputs, found, strict=True))
        ends = [
            (after[f"h{number}_next"], after.get(f"c{number}_next", c))
            for number, (_, c) in enumerate(states)
        ]
        return after["log_probs"], ends


class _Sessions:
    """A graph in ONNX Runtime, made ready for each number of threads that it is asked to use.

    That is ``threads``, or without it, torch's in the thread that asks.
    """

    def __init__(self, make: Callable[[], onnx.ModelProto], threads: int | None = None) -> None:
        self._make = make
        self._threads = threads
        self._by_threads: dict[int, onnxruntime.InferenceSession] = {}
        self._making = Lock()

    def here(self) -> onnxruntime.InferenceSession:
        """The session for the thread that calls."""
        threads = self._threads or torch.get_num_threads()
        with self._making:
            if threads not in self._by_threads:
                self._by_threads[threads] = _session(self._make(), threads)
            return self._by_threads[threads]


def _map_in_threads(run: Callable[[int], Result], count: int) -> list[Result]:
    """``run`` of each number below ``count``, by as many threads as torch has."""
    threads = min(count, torch.get_num_threads())
    if threads < 2:
        return list(map(run, range(count)))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(count)))


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
    _compare(found[valid], expected[valid])


def _check_chunks(backend: OnnxChunkModel, model: AcousticModel) -> None:
    """Compare with torch on two chunks of noise, the second of which begins in carried states."""
    reduction = model.config.network.reduction
    total = (CHECK_CHUNK + CHECK_LOOK_AHEAD) * reduction
    lengths = torch.tensor([total, total - reduction])
    window = torch.tensor([[0, total], [1, total]])
    noise = torch.Generator().manual_seed(0)
    found: States = model.initial_states(2)
    expected: States = model.initial_states(2)
    for _ in range(2):
        features = torch.randn(2, total, model.config.input_size, generator=noise)
        what = features, lengths, window, CHECK_CHUNK
        with torch.inference_mode():
            log_probs, found = backend.chunk(*what, found)
            wanted, expected = model.chunk(*what, expected)
        _compare(log_probs, wanted)


def _compare(found: Tensor, expected: Tensor) -> None:
    """Raise ModelError unless ``found`` is what torch computed."""
    distance = (found - expected).abs()
    allowed = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * expected.abs()
    if not (distance <= allowed).all():  # false for NaN too
        raise ModelError(
            f"ONNX Runtime's log-probabilities differ from torch's by up to {distance.max():.2g}",
            remedy="choose the backend torch, or another version of onnxruntime",
        )
