"""What graphs of whole utterances and of chunks have in common: convolutions, joins, the output."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from torch import nn

from asr.export.graph import Graph
from asr.export.weights import Layer
from asr.nn.front import ConvolutionalFront

__all__ = ["add_directions_joined", "add_front", "add_join", "add_output"]


def add_front(graph: Graph, front: ConvolutionalFront) -> tuple[str, str]:
    """Add the convolutions; returns the names of their output ``(B, T, F)`` and its lengths."""
    lengths = "lengths"
    graph.add("Unsqueeze", ["features", graph.constant("one", [1])], "image")  # (B, 1, T, F)
    image = _add_mask(graph, "image", lengths, "front")
    for number, convolution in enumerate(front.convolutions):
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.bias is not None
        stride, name = int(convolution.stride[0]), f"front{number}"
        weight = graph.store(f"{name}.weight", convolution.weight.float())
        bias = graph.store(f"{name}.bias", convolution.bias.float())
        attributes = {"strides": list(convolution.stride), "pads": [1, 1, 1, 1]}
        graph.add("Conv", [image, weight, bias], f"{name}.sum", **attributes)
        graph.add("Relu", [f"{name}.sum"], f"{name}.y")
        graph.add("Add", [lengths, graph.constant(f"{name}.up", [stride - 1])], f"{name}.longer")
        graph.add(
            "Div", [f"{name}.longer", graph.constant(f"{name}.stride", [stride])], f"{name}.lengths"
        )
        lengths = f"{name}.lengths"
        image = _add_mask(graph, f"{name}.y", lengths, name)
    graph.add("Transpose", [image], "front.rows", perm=[0, 2, 1, 3])  # (B, T, C, F)
    shape = graph.constant("front.shape", [0, 0, front.output_size])
    graph.add("Reshape", ["front.rows", shape], "front.output")
    return "front.output", lengths


def _add_mask(graph: Graph, image: str, lengths: str, name: str) -> str:
    """Add zeros beyond ``lengths (B,)`` of ``image (B, C, T, F)``; returns the result's name."""
    zero, one = graph.constant(f"{name}.zero", 0), graph.constant(f"{name}.one", 1)
    graph.add("Shape", [image], f"{name}.size")
    graph.add("Gather", [f"{name}.size", graph.constant(f"{name}.axis", 2)], f"{name}.T")
    graph.add("Range", [zero, f"{name}.T", one], f"{name}.frames")  # (T,)
    axes = graph.constant(f"{name}.axes", [1])
    graph.add("Unsqueeze", [lengths, axes], f"{name}.ends")  # (B, 1)
    graph.add("Less", [f"{name}.frames", f"{name}.ends"], f"{name}.valid")  # (B, T)
    graph.add("Cast", [f"{name}.valid"], f"{name}.mask", to=TensorProto.FLOAT)
    around = graph.constant(f"{name}.around", [1, 3])
    graph.add("Unsqueeze", [f"{name}.mask", around], f"{name}.mask4")  # (B, 1, T, 1)
    graph.add("Mul", [image, f"{name}.mask4"], f"{name}.masked")
    return f"{name}.masked"


def add_join(graph: Graph, number: int, factor: int, lengths: str) -> str:
    """Replace ``x{number} (T, B, S)`` by ``(⌈T / factor⌉, B, factor * S)``; returns the lengths."""
    name, frames = f"join{number}", graph.rename(f"x{number}")
    by = graph.constant(f"{name}.factor", [factor])
    graph.add("Shape", [frames], f"{name}.size")
    graph.add("Gather", [f"{name}.size", graph.constant(f"{name}.first", [0])], f"{name}.T")
    graph.add("Neg", [f"{name}.T"], f"{name}.minus")
    graph.add("Mod", [f"{name}.minus", by], f"{name}.missing")  # of the divisor's sign
    zeros, ends = graph.constant(f"{name}.zeros", [0, 0, 0]), graph.constant(f"{name}.ends", [0, 0])
    graph.add("Concat", [zeros, f"{name}.missing", ends], f"{name}.pads", axis=0)
    graph.add("Pad", [frames, f"{name}.pads"], f"{name}.padded")
    pairs = graph.constant(f"{name}.pairs", [-1, factor])
    graph.add("Gather", [f"{name}.size", graph.constant(f"{name}.rest", [1, 2])], f"{name}.BS")
    graph.add("Concat", [pairs, f"{name}.BS"], f"{name}.split", axis=0)
    graph.add("Reshape", [f"{name}.padded", f"{name}.split"], f"{name}.rows")  # (T', factor, B, S)
    graph.add("Transpose", [f"{name}.rows"], f"{name}.beside", perm=[0, 2, 1, 3])
    graph.add("Gather", [f"{name}.size", graph.constant(f"{name}.third", [2])], f"{name}.S")
    graph.add("Mul", [f"{name}.S", by], f"{name}.wide")
    same = graph.constant(f"{name}.same", [0, 0])  # 0: as it is
    graph.add("Concat", [same, f"{name}.wide"], f"{name}.shape", axis=0)
    graph.add("Reshape", [f"{name}.beside", f"{name}.shape"], f"x{number}")
    up = graph.constant(f"{name}.up", [factor - 1], np.int32)
    divisor = graph.constant(f"{name}.by", [factor], np.int32)
    graph.add("Add", [lengths, up], f"{name}.longer")
    graph.add("Div", [f"{name}.longer", divisor], f"{name}.lengths")
    return f"{name}.lengths"


def add_directions_joined(graph: Graph, number: int, layer: Layer, *, last: bool) -> None:
    """Add the nodes from ``y{number} (T, D, B, H)`` to ``x{number + 1} (T, B, D * H)``.

    After the last layer it is ``(B, T, D * H)``.
    """
    perm = [2, 0, 1, 3] if last else [0, 2, 1, 3]
    graph.add("Transpose", [f"y{number}"], f"z{number}", perm=perm)
    size = layer.directions * layer.hidden_size
    shape = graph.constant(f"layer{number}.shape", [0, 0, size])  # 0: as it is
    graph.add("Reshape", [f"z{number}", shape], f"x{number + 1}")


def add_output(graph: Graph, frames: str, output: nn.Linear) -> None:
    """Add the nodes from ``frames (B, T, D * H)`` to ``log_probs (B, T, V)``."""
    weight = graph.store("output.weight", output.weight.T.float())
    graph.add("MatMul", [frames, weight], "scores")
    graph.add("Add", ["scores", graph.store("output.bias", output.bias.float())], "logits")
    graph.add("LogSoftmax", ["logits"], "log_probs", axis=-1)
