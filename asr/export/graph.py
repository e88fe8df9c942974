"""A graph of ONNX as it grows, and the file that it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from torch import Tensor

from asr import __version__

__all__ = ["Graph", "to_proto", "value"]

OPSET = 17
IR_VERSION = 8  # of the same release of ONNX; helper's default is the newest, which few can read


class Graph:
    """Nodes and stored tensors, as they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}

    def add(
        self, operator: str, inputs: Sequence[str], *outputs: str, **attributes: object
    ) -> None:
        """Add a node; its name is made of its operator and first output that is used."""
        name = next(filter(None, outputs))
        node = helper.make_node(operator, inputs, outputs, name=f"{operator}:{name}")
        node.attribute.extend(helper.make_attribute(*pair) for pair in attributes.items())
        self.nodes.append(node)

    def rename(self, output: str) -> str:
        """Give the last node's output another name, so that something can come behind it."""
        node = self.nodes[-1]
        node.name, node.output[0] = f"{node.name}.whole", f"{output}.whole"
        return f"{output}.whole"

    def constant(self, name: str, values: object, kind: type[np.integer[Any]] = np.int64) -> str:
        """Store integers; returns ``name``."""
        self.tensors[name] = numpy_helper.from_array(np.array(values, dtype=kind), name)
        return name

    def store(self, name: str, values: Tensor) -> str:
        """Store ``values``, once for a name; returns ``name``."""
        if name not in self.tensors:
            array = np.ascontiguousarray(values.detach().cpu().numpy())
            self.tensors[name] = numpy_helper.from_array(array, name)
        return name


def value(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
    """An input or output of a graph."""
    return helper.make_tensor_value_info(name, kind, shape)


def to_proto(
    graph: Graph,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    documentation: str,
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
    """The graph as a model."""
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "acoustic_model",
            inputs,
            outputs,
            list(graph.tensors.values()),
            doc_string=documentation,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="peephole-asr",
        producer_version=__version__,
        doc_string=documentation,
    )
    helper.set_model_props(proto, dict(metadata))
    return proto
