"""Whole utterances: a recurrent node a layer."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import TensorProto

from asr.export.graph import Graph, to_proto, value
from asr.export.obstacle import obstacle
from asr.export.parts import add_directions_joined, add_front, add_join, add_output
from asr.export.weights import Layer, layers_of
from asr.nn.model import AcousticModel

__all__ = ["to_onnx"]

DOCUMENTATION = """\
Log-probabilities of a CTC acoustic model, natural logarithm, token 0 the blank.
features: float32 (B, T, F), normalised as in training, anything finite beyond the lengths.
lengths: int64 (B,), frames of each utterance, 1 to T.
log_probs: float32 (B, T, V); frames beyond a length hold no meaning."""


def to_onnx(model: AcousticModel, metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
    """The graph that maps ``features (B, T, F)`` and ``lengths (B,)`` to ``log_probs (B, T, V)``.

    B and T are free. What the model does in training alone (noise, dropout) is left out.

    Args:
        model: on any device; its weights are copied.
        metadata: texts to store by name beside the graph.

    Raises:
        ConfigError: the model has a projection.
    """
    config = model.config
    if error := obstacle(config):
        raise error
    graph = Graph()
    frames, lengths = "features", "lengths"
    if model.front is not None:
        frames, lengths = add_front(graph, model.front)
    graph.add("Transpose", [frames], "x0", perm=[1, 0, 2])  # (T, B, F)
    graph.add("Cast", [lengths], "sequence_lens", to=TensorProto.INT32)
    lengths = "sequence_lens"
    layers = list(layers_of(model.recurrent))
    reductions = config.network.reductions or (1,) * (len(layers) - 1)
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        _add_layer(graph, number, layer, lengths, last=last)
        if not last and reductions[number] > 1:
            lengths = add_join(graph, number + 1, reductions[number], lengths)
    add_output(graph, f"x{len(layers)}", model.output)
    inputs = [
        value("features", TensorProto.FLOAT, "B", "T", config.input_size),
        value("lengths", TensorProto.INT64, "B"),
    ]
    out = "T" if config.network.reduction == 1 else "frames"
    outputs = [value("log_probs", TensorProto.FLOAT, "B", out, config.vocab_size)]
    return to_proto(graph, inputs, outputs, DOCUMENTATION, metadata or {})


def _add_layer(graph: Graph, number: int, layer: Layer, lengths: str, *, last: bool) -> None:
    """Add the nodes from ``x{number} (T, B, I)`` to ``x{number + 1}``.

    That is ``(T, B, D * H)``, or ``(B, T, D * H)`` after the last layer.
    """
    weights = {
        name: graph.store(f"layer{number}.{name}", tensor)
        for name, tensor in layer.tensors().items()
    }
    inputs = [f"x{number}", weights["W"], weights["R"], weights["B"], lengths]
    if "P" in weights:
        initial_h, initial_c = "", ""  # not given: zeros
        inputs += [initial_h, initial_c, weights["P"]]
    direction = "bidirectional" if layer.directions == 2 else "forward"
    # (T, D, B, H)
    graph.add(layer.operator, inputs, f"y{number}", direction=direction, **layer.attributes)
    add_directions_joined(graph, number, layer, last=last)
