"""The acoustic model as an ONNX graph in which every layer is one operator of ONNX's own.

ONNX's ``LSTM`` has what the cells here need: diagonal peepholes (its input P), a length for each
utterance (``sequence_lens``), and a forget gate that is 1 - i (``input_forget``). So the graph is
written by hand from the weights, and a stack of three layers has three recurrent nodes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from asr import __version__
from asr.files.write import write_bytes
from asr.nn.cells import CELLS, Cell
from asr.nn.front import ConvolutionalFront
from asr.nn.model import AcousticModel, AcousticModelConfig
from asr.nn.pyramid import Pyramid
from asr.nn.recurrent import RecurrentLayer
from asr.types import ConfigError

if TYPE_CHECKING:
    from asr.bundle import Bundle

# ONNX Runtime, from 1.32 on, reports its use to its makers unless told not to before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["describe_bundle", "obstacle", "quantise", "save_onnx", "to_onnx"]

OPSET = 17
IR_VERSION = 8  # of the same release of ONNX; helper's default is the newest, which few can read
GATES = "iofz"  # the order in which ONNX's LSTM wants the rows; it calls z "c"
PEEPHOLES = "iof"
# The LSTM of 1997 is one whose forget gate is 1: in float32 the sigmoid of this is 1 to the last
# bit, as is ONNX Runtime's, so a cell state keeps its value for any number of frames.
OPEN = 50.0
DOCUMENTATION = """\
Log-probabilities of a CTC acoustic model, natural logarithm, token 0 the blank.
features: float32 (B, T, F), normalised as in training, anything finite beyond the lengths.
lengths: int64 (B,), frames of each utterance, 1 to T.
log_probs: float32 (B, T, V); frames beyond a length hold no meaning."""


def obstacle(config: AcousticModelConfig, *, int8: bool = False) -> ConfigError | None:
    """What keeps a model of this shape from ONNX, or from its 8-bit form; None if nothing does."""
    if config.network.proj_size:
        return ConfigError(
            "ONNX's LSTM has no projection of its output", remedy="use torch, or proj_size 0"
        )
    if int8 and config.network.cell == "rnn":
        return ConfigError(
            "ONNX Runtime has an 8-bit LSTM, but no 8-bit simple recurrent network",
            remedy="leave out int8, or choose another cell",
        )
    return None


def to_onnx(model: AcousticModel, metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
    """The graph that maps ``features (B, T, F)`` and ``lengths (B,)`` to ``log_probs (B, T, V)``.

    B and T are free. What the model does in training alone (noise, dropout) is left out.

    Args:
        model: on any device; its weights are copied.
        metadata: texts to store by name beside the graph.

    Raises:
        ConfigError: the model has a projection.
    """
    if error := obstacle(model.config):
        raise error
    graph = _Graph()
    frames, lengths = "features", "lengths"
    if model.front is not None:
        frames, lengths = _add_front(graph, model.front)
    graph.add("Transpose", [frames], "x0", perm=[1, 0, 2])  # (T, B, F)
    graph.add("Cast", [lengths], "sequence_lens", to=TensorProto.INT32)
    lengths = "sequence_lens"
    layers = list(_layers(model.recurrent))
    reductions = model.config.network.reductions or (1,) * (len(layers) - 1)
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        _add_layer(graph, number, layer, lengths, last=last)
        if not last and reductions[number] > 1:
            lengths = _add_join(graph, number + 1, reductions[number], lengths)
    weight, bias = model.output.weight.T.float(), model.output.bias.float()
    graph.add("MatMul", [f"x{len(layers)}", graph.store("output.weight", weight)], "scores")
    graph.add("Add", ["scores", graph.store("output.bias", bias)], "logits")
    graph.add("LogSoftmax", ["logits"], "log_probs", axis=-1)
    proto = _model_proto(graph, model.config, metadata or {})
    onnx.checker.check_model(proto, full_check=True)
    return proto


def describe_bundle(bundle: Bundle) -> dict[str, str]:
    """What another runtime needs beside a bundle's graph, for its metadata.

    ``name``; ``token_kind``, whether tokens are characters, phones or subwords; as JSON, ``tokens``
    in the order of V, and ``features`` and ``statistics``, the options and the normalisation of the
    front end.
    """
    statistics = {name: value.tolist() for name, value in bundle.extractor.state_dict().items()}
    return {
        "name": bundle.name,
        "token_kind": bundle.tokenizer.kind,
        "tokens": json.dumps(bundle.tokenizer.tokens, ensure_ascii=False),
        "features": json.dumps(bundle.extractor.config.to_dict()),
        "statistics": json.dumps(statistics),
    }


class _Graph:
    """Nodes and stored tensors, as they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: list[str], output: str, **attributes: object) -> None:
        node = helper.make_node(operator, inputs, [output], name=f"{operator}:{output}")
        node.attribute.extend(helper.make_attribute(*pair) for pair in attributes.items())
        self.nodes.append(node)

    def rename(self, output: str) -> str:
        """Give the last node's output another name, so that something can come behind it."""
        node = self.nodes[-1]
        node.name, node.output[0] = f"{node.name}.whole", f"{output}.whole"
        return f"{output}.whole"

    def constant(self, name: str, values: object, kind: type[np.integer[Any]] = np.int64) -> str:
        self.tensors.append(numpy_helper.from_array(np.array(values, dtype=kind), name))
        return name

    def store(self, name: str, values: Tensor) -> str:
        array = np.ascontiguousarray(values.detach().cpu().numpy())
        self.tensors.append(numpy_helper.from_array(array, name))
        return name


@dataclass(frozen=True)
class _Layer:
    """Weights of one layer, direction by direction, in the order of ``cell``."""

    cell: Cell
    weight_ih: Tensor  # (D, G * H, I)
    weight_hh: Tensor  # (D, G * H, H)
    bias_ih: Tensor  # (D, G * H)
    bias_hh: Tensor
    peephole: Tensor | None = None  # (D, P, H)

    @property
    def hidden_size(self) -> int:
        return self.weight_hh.shape[2]


def _add_front(graph: _Graph, front: ConvolutionalFront) -> tuple[str, str]:
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


def _add_mask(graph: _Graph, image: str, lengths: str, name: str) -> str:
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


def _layers(recurrent: nn.Module) -> Iterator[_Layer]:
    stacks = recurrent.stacks if isinstance(recurrent, Pyramid) else [recurrent]
    for stack in stacks:
        yield from _stack_layers(stack)


def _stack_layers(stack: nn.Module) -> Iterator[_Layer]:
    layers = stack.get_submodule("layers")
    assert isinstance(layers, nn.ModuleList)
    for layer in layers:
        weights = {name: weight.detach().float().cpu() for name, weight in layer.named_parameters()}
        if isinstance(layer, RecurrentLayer):
            bias = weights.pop("bias")
            yield _Layer(layer.cell, bias_ih=bias, bias_hh=torch.zeros_like(bias), **weights)
        else:
            yield _peer_layer(weights)


def _peer_layer(weights: Mapping[str, Tensor]) -> _Layer:
    """A layer of ``nn.LSTM``, which has the gates in the order of our ``lstm``, and two biases."""

    def join(name: str) -> Tensor:
        return torch.stack([weight for key, weight in weights.items() if f".{name}_" in key])

    return _Layer(
        CELLS["lstm"], join("weight_ih"), join("weight_hh"), join("bias_ih"), join("bias_hh")
    )


def _add_layer(graph: _Graph, number: int, layer: _Layer, lengths: str, *, last: bool) -> None:
    """Add the nodes from ``x{number} (T, B, I)`` to ``x{number + 1}``.

    That is ``(T, B, D * H)``, or ``(B, T, D * H)`` after the last layer.
    """
    D, H = len(layer.weight_ih), layer.hidden_size
    biases = torch.cat([_rows(layer, layer.bias_ih, OPEN), _rows(layer, layer.bias_hh)], dim=1)
    inputs = [
        f"x{number}",
        graph.store(f"layer{number}.W", _rows(layer, layer.weight_ih)),
        graph.store(f"layer{number}.R", _rows(layer, layer.weight_hh)),
        graph.store(f"layer{number}.B", biases),
        lengths,
    ]
    if layer.peephole is not None:
        initial_h, initial_c = "", ""  # not given: zeros
        inputs += [initial_h, initial_c, graph.store(f"layer{number}.P", _peepholes(layer))]
    attributes: dict[str, object] = {"hidden_size": H}
    attributes["direction"] = "bidirectional" if D == 2 else "forward"
    if layer.cell.name == "coupled":
        attributes["input_forget"] = 1
    operator = "LSTM" if layer.cell.has_state else "RNN"
    graph.add(operator, inputs, f"y{number}", **attributes)  # (T, D, B, H)
    perm = [2, 0, 1, 3] if last else [0, 2, 1, 3]
    graph.add("Transpose", [f"y{number}"], f"z{number}", perm=perm)
    shape = graph.store(f"layer{number}.shape", torch.tensor([0, 0, D * H]))  # 0: as it is
    graph.add("Reshape", [f"z{number}", shape], f"x{number + 1}")


def _add_join(graph: _Graph, number: int, factor: int, lengths: str) -> str:
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


def _rows(layer: _Layer, values: Tensor, forget: float = 0.0) -> Tensor:
    """``values (D, G * H, ...)`` in ONNX's order of gates.

    A cell without a forget gate gets rows of ``forget``; with ``input_forget`` nothing reads them.
    """
    if not layer.cell.has_state:
        return values
    blocks = torch.split(values, layer.hidden_size, dim=1)
    gates = dict(zip(layer.cell.gates, blocks, strict=True))
    gates.setdefault("f", torch.full_like(gates["i"], forget))
    return torch.cat([gates[gate] for gate in GATES], dim=1)


def _peepholes(layer: _Layer) -> Tensor:
    """The peepholes as ``(D, 3 * H)``, zeros for a gate that has none."""
    assert layer.peephole is not None
    known = dict(zip(layer.cell.peepholes, layer.peephole.unbind(1), strict=True))
    zeros = torch.zeros_like(known["i"])
    return torch.cat([known.get(gate, zeros) for gate in PEEPHOLES], dim=1)


def _model_proto(
    graph: _Graph, config: AcousticModelConfig, metadata: Mapping[str, str]
) -> onnx.ModelProto:
    frames = "T" if config.network.reduction == 1 else "frames"

    def value(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "acoustic_model",
            [
                value("features", TensorProto.FLOAT, "B", "T", config.input_size),
                value("lengths", TensorProto.INT64, "B"),
            ],
            [value("log_probs", TensorProto.FLOAT, "B", frames, config.vocab_size)],
            graph.tensors,
            doc_string=DOCUMENTATION,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="peephole-asr",
        producer_version=__version__,
        doc_string=DOCUMENTATION,
    )
    helper.set_model_props(proto, dict(metadata))
    return proto


def quantise(proto: onnx.ModelProto) -> onnx.ModelProto:
    """``proto`` with the layers' matrices in 8 bits, for ONNX Runtime alone.

    Each ``LSTM`` becomes a ``com.microsoft.DynamicQuantizeLSTM``. Its two matrices are rounded
    once, with a scale for each row; what they multiply is rounded at run time, with one scale for
    all frames and utterances of the call. Biases, peepholes, cell states and the output layer stay
    in float32. Two things follow:

    - log-probabilities are off by up to 1e-2 with random weights; what that does to the error rate
      has to be measured for each model (``evaluate --backend onnx-int8``);
    - an utterance's result depends a little on what else is in the batch, padding included: for a
      result of its own give each utterance alone and at its own length.

    Seven of the eight bits are used: on x86 processors without VNNI the sum of two products of full
    8-bit numbers does not fit into the 16 bits it is kept in.
    """
    from onnxruntime.quantization import quantize_dynamic  # only 8 bits need it

    prepared = onnx.ModelProto()
    prepared.CopyFrom(proto)
    properties = {prop.key: prop.value for prop in proto.metadata_props}
    # Else the tool advises, through the root logger, to simplify the graph first.
    helper.set_model_props(prepared, {**properties, "onnx.quant.pre_process": "onnxruntime.quant"})
    with TemporaryDirectory() as folder:  # the tool writes files, and nothing else
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            prepared, path, op_types_to_quantize=["LSTM"], per_channel=True, reduce_range=True
        )
        quantised = onnx.load(path)
    helper.set_model_props(quantised, properties)
    return quantised


def save_onnx(
    model: AcousticModel,
    path: str | os.PathLike[str],
    *,
    int8: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write ``model`` as an ONNX file, with :func:`quantise` if ``int8``.

    Raises:
        ConfigError: see :func:`obstacle`.
        OSError: the file cannot be written.
    """
    if error := obstacle(model.config, int8=int8):
        raise error
    proto = to_onnx(model, metadata)
    write_bytes(path, (quantise(proto) if int8 else proto).SerializeToString())
