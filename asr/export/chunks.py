"""Streams: a chunk and its look-ahead, with the layers' states as inputs and outputs.

A layer's forward direction is two recurrent nodes with the same weights. One reads the chunk and
gives the state that is carried on, the other reads the look-ahead from there. The backward
direction is a third node, which begins at the end of the look-ahead (see :mod:`asr.nn.chunks`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx
from onnx import TensorProto

from asr.export.graph import Graph, to_proto, value
from asr.export.obstacle import obstacle
from asr.export.parts import add_directions_joined, add_front, add_join, add_output
from asr.export.weights import Layer, layers_of
from asr.nn.model import AcousticModel

__all__ = ["chunks_to_onnx", "share_tensors"]

DOCUMENTATION = """\
Log-probabilities of a CTC acoustic model for the next chunk of streams; natural logarithm, token 0
the blank.
features: float32 (B, T, F), normalised, of each stream's chunk and look-ahead.
lengths: int64 (B,), frames of it that each stream has, from 1 on.
frames: int64 (1,), frames of log-probabilities of a chunk. T is above frames times the network's
reduction of time: fill up with zeros.
window: int64 (B, 2), where chunk and look-ahead begin and end in the frames behind the
convolutions, which read some frames around them; only models with convolutions have it.
h0, c0, h1, ...: float32 (1, B, H), the forward direction's states of each layer before the chunk:
zeros at first, then the outputs h0_next, c0_next, h1_next, ... of the chunk before.
log_probs: float32 (B, T', V), T' up to frames; those beyond a stream's end hold no meaning."""


def chunks_to_onnx(
    model: AcousticModel, metadata: Mapping[str, str] | None = None, *, shared: bool = True
) -> onnx.ModelProto:
    """The graph that computes what :meth:`asr.nn.model.AcousticModel.chunk` does.

    B and T are free, and so is the length of a chunk. Its inputs and outputs are described in its
    documentation.

    Args:
        model: on any device; its weights are copied.
        metadata: texts to store by name beside the graph.
        shared: the two nodes of a forward direction read the same tensors. Else each has its own,
            as :func:`asr.export.files.quantise` needs.

    Raises:
        ConfigError: the model has a projection, or its cell cannot be run by chunks.
    """
    config = model.config
    if error := obstacle(config, chunks=True):
        raise error
    graph = Graph()
    frames = _add_input(graph, model)
    layers = list(layers_of(model.recurrent))
    reductions = config.network.reductions or (1,) * (len(layers) - 1)
    span = _add_span(graph, "span0", "sequence_lens", frames)
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        _add_layer(graph, number, layer, span, shared=shared)
        add_directions_joined(graph, number, layer, last=last)
        if not last and reductions[number] > 1:
            span = _add_join(graph, number + 1, reductions[number], span)
    ends = [f"x{len(layers)}", graph.constant("first", [0]), "frames", graph.constant("axis", [1])]
    graph.add("Slice", ends, "chunk")
    add_output(graph, "chunk", model.output)
    return _proto(graph, model, layers, metadata or {})


@dataclass(frozen=True)
class _Span:
    """Names of how long chunk and look-ahead are at a layer.

    ``frames (1,)`` of the chunk; of each stream in all, in the chunk and behind it ``(B,)``.
    """

    frames: str
    lengths: str
    now: str
    ahead: str


def _add_input(graph: Graph, model: AcousticModel) -> str:
    """Add what gives ``x0 (T, B, F')`` and ``sequence_lens``; returns the chunk's frames there."""
    features, lengths = "features", "lengths"
    if model.front is not None:
        features, lengths = _add_window(graph, *add_front(graph, model.front))
    graph.add("Transpose", [features], "x0", perm=[1, 0, 2])
    graph.add("Cast", [lengths], "sequence_lens", to=TensorProto.INT32)
    by = graph.constant("reduction", [math.prod(model.config.network.reductions)])
    graph.add("Mul", ["frames", by], "frames0")
    return "frames0"


def _add_window(graph: Graph, features: str, lengths: str) -> tuple[str, str]:
    """Cut ``window`` out of ``features (B, T, F')``, as :func:`asr.nn.front.cut_frames` does."""
    zero, one = graph.constant("window.zero", 0), graph.constant("window.one", 1)
    column, behind = graph.constant("window.column", [1]), graph.constant("window.behind", [2])
    graph.add("Gather", ["window", zero], "window.begin", axis=1)  # (B,)
    graph.add("Gather", ["window", one], "window.end", axis=1)
    graph.add("Shape", [features], "window.size")
    graph.add("Gather", ["window.size", one], "window.T")
    graph.add("Range", [zero, "window.T", one], "window.frames")  # (T,)
    graph.add("Unsqueeze", ["window.begin", column], "window.first")  # (B, 1)
    graph.add("Add", ["window.frames", "window.first"], "window.wanted")  # (B, T)
    graph.add("Sub", ["window.T", one], "window.last")
    graph.add("Min", ["window.wanted", "window.last"], "window.source")
    graph.add("Unsqueeze", ["window.source", behind], "window.indices")  # (B, T, 1)
    graph.add("GatherND", [features, "window.indices"], "window.rest", batch_dims=1)
    graph.add("Min", [lengths, "window.end"], "window.ends")
    graph.add("Sub", ["window.ends", "window.begin"], "window.left")
    return "window.rest", "window.left"


def _add_span(graph: Graph, name: str, lengths: str, frames: str) -> _Span:
    graph.add("Cast", [frames], f"{name}.frames", to=TensorProto.INT32)
    graph.add("Min", [lengths, f"{name}.frames"], f"{name}.now")
    graph.add("Sub", [lengths, f"{name}.now"], f"{name}.ahead")
    return _Span(frames, lengths, f"{name}.now", f"{name}.ahead")


def _add_layer(graph: Graph, number: int, layer: Layer, span: _Span, *, shared: bool) -> None:
    """Add the nodes from ``x{number} (T, B, I)`` to ``y{number} (T, D, B, H)`` and the states."""
    x, name = f"x{number}", f"layer{number}"
    states = _states(number, layer)
    after = [f"{state}_next" for state in states]
    begin, time = graph.constant("begin", [0]), graph.constant("time", [0])
    end = graph.constant("end", [2**31 - 1])
    graph.add("Slice", [x, span.frames, end, time], f"{name}.beyond")
    now = _Node(f"{name}.forward", 0, x, span.now, states, (f"{name}.now", *after))
    ahead = _Node(now.weights, 0, f"{name}.beyond", span.ahead, after, (f"{name}.ahead",))
    now.add(graph, layer)
    if not shared:
        ahead = replace(ahead, weights=f"{name}.ahead")
    ahead.add(graph, layer)
    graph.add("Slice", [f"{name}.now", begin, span.frames, time], f"{name}.chunk")
    forward = f"y{number}" if layer.directions == 1 else f"{name}.y"
    graph.add("Concat", [f"{name}.chunk", f"{name}.ahead"], forward, axis=0)
    if layer.directions == 2:
        _Node(f"{name}.backward", 1, x, span.lengths, (), (f"{name}.back",)).add(graph, layer)
        graph.add("Concat", [forward, f"{name}.back"], f"y{number}", axis=1)


@dataclass(frozen=True)
class _Node:
    """A recurrent node of one direction: names of its weights, inputs and outputs."""

    weights: str
    direction: int
    x: str
    lengths: str
    states: Sequence[str]
    outputs: tuple[str, ...]

    def add(self, graph: Graph, layer: Layer) -> None:
        """Add it to ``graph``."""
        d = self.direction
        stored = {
            name: graph.store(f"{self.weights}.{name}", tensor[d : d + 1])
            for name, tensor in layer.tensors().items()
        }
        inputs = [self.x, stored["W"], stored["R"], stored["B"], self.lengths, *self.states]
        if "P" in stored:
            inputs += [*("", "")[len(self.states) :], stored["P"]]  # no states are zeros
        way = ("forward", "reverse")[d]
        graph.add(layer.operator, inputs, *self.outputs, direction=way, **layer.attributes)


def _states(number: int, layer: Layer) -> list[str]:
    """Names of a layer's states: of its output, and of its cells if it has any."""
    return [f"h{number}", f"c{number}"] if layer.cell.has_state else [f"h{number}"]


def _add_join(graph: Graph, number: int, factor: int, span: _Span) -> _Span:
    """Join frames of ``x{number}``; a chunk is a whole number of joined ones."""
    lengths = add_join(graph, number, factor, span.lengths)
    frames = f"span{number}.joined"
    graph.add("Div", [span.frames, graph.constant(f"span{number}.factor", [factor])], frames)
    return _add_span(graph, f"span{number}", lengths, frames)


def _proto(
    graph: Graph, model: AcousticModel, layers: Sequence[Layer], metadata: Mapping[str, str]
) -> onnx.ModelProto:
    config = model.config
    real, whole = TensorProto.FLOAT, TensorProto.INT64
    states = [
        (name, layer.hidden_size) for n, layer in enumerate(layers) for name in _states(n, layer)
    ]
    inputs = [
        value("features", real, "B", "T", config.input_size),
        value("lengths", whole, "B"),
        value("frames", whole, 1),
        *([] if model.front is None else [value("window", whole, "B", 2)]),
        *(value(name, real, 1, "B", size) for name, size in states),
    ]
    outputs = [
        value("log_probs", real, "B", "chunk", config.vocab_size),
        *(value(f"{name}_next", real, 1, "B", size) for name, size in states),
    ]
    return to_proto(graph, inputs, outputs, DOCUMENTATION, metadata)


def share_tensors(proto: onnx.ModelProto) -> None:
    """Keep one of each group of equal stored tensors in ``proto``, and let all nodes read it."""
    kept: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    tensors = list(proto.graph.initializer)
    del proto.graph.initializer[:]
    for tensor in tensors:
        name, tensor.name = tensor.name, ""
        first = kept.setdefault(tensor.SerializeToString(), name)
        renamed[name], tensor.name = first, name
        if first == name:
            proto.graph.initializer.append(tensor)
    for node in proto.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
