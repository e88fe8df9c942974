"""Weights of recurrent layers as ONNX wants them: gates in its order, two biases, forget gates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asr.nn.cells import CELLS, Cell
from asr.nn.layer import RecurrentLayer
from asr.nn.pyramid import Pyramid

__all__ = ["Layer", "layers_of"]

GATES = "iofz"  # the order in which ONNX's LSTM wants the rows; it calls z "c"
PEEPHOLES = "iof"
# The LSTM of 1997 is one whose forget gate is 1: in float32 the sigmoid of this is 1 to the last
# bit, as is ONNX Runtime's, so a cell state keeps its value for any number of frames.
OPEN = 50.0


@dataclass(frozen=True)
class Layer:
    """Weights of one layer, direction by direction, in the order of ``cell``."""

    cell: Cell
    weight_ih: Tensor  # (D, G * H, I)
    weight_hh: Tensor  # (D, G * H, H)
    bias_ih: Tensor  # (D, G * H)
    bias_hh: Tensor
    peephole: Tensor | None = None  # (D, P, H)

    @property
    def hidden_size(self) -> int:
        """Cells a direction, H."""
        return self.weight_hh.shape[2]

    @property
    def directions(self) -> int:
        """One or two, D."""
        return len(self.weight_ih)

    @property
    def operator(self) -> str:
        """ONNX's name of what computes the layer."""
        return "LSTM" if self.cell.has_state else "RNN"

    @property
    def attributes(self) -> dict[str, int]:
        """The operator's attributes beside its direction."""
        coupled = {"input_forget": 1} if self.cell.name == "coupled" else {}
        return {"hidden_size": self.hidden_size, **coupled}

    def tensors(self) -> dict[str, Tensor]:
        """ONNX's inputs ``W (D, 4 * H, I)``, ``R``, ``B`` and, with peepholes, ``P (D, 3 * H)``."""
        biases = torch.cat([self._rows(self.bias_ih, OPEN), self._rows(self.bias_hh)], dim=1)
        found = {"W": self._rows(self.weight_ih), "R": self._rows(self.weight_hh), "B": biases}
        if self.peephole is not None:
            found["P"] = self._peepholes(self.peephole)
        return found

    def _rows(self, values: Tensor, forget: float = 0.0) -> Tensor:
        """``values (D, G * H, ...)`` in ONNX's order of gates.

        A cell without a forget gate gets rows of ``forget``; with ``input_forget`` nothing reads
        them.
        """
        if not self.cell.has_state:
            return values
        blocks = torch.split(values, self.hidden_size, dim=1)
        gates = dict(zip(self.cell.gates, blocks, strict=True))
        gates.setdefault("f", torch.full_like(gates["i"], forget))
        return torch.cat([gates[gate] for gate in GATES], dim=1)

    def _peepholes(self, peephole: Tensor) -> Tensor:
        """The peepholes as ``(D, 3 * H)``, zeros for a gate that has none."""
        known = dict(zip(self.cell.peepholes, peephole.unbind(1), strict=True))
        zeros = torch.zeros_like(known["i"])
        return torch.cat([known.get(gate, zeros) for gate in PEEPHOLES], dim=1)


def layers_of(recurrent: nn.Module) -> Iterator[Layer]:
    """The layers of a stack, a pyramid of stacks, or torch's own."""
    stacks = recurrent.stacks if isinstance(recurrent, Pyramid) else [recurrent]
    for stack in stacks:
        yield from _stack_layers(stack)


def _stack_layers(stack: nn.Module) -> Iterator[Layer]:
    layers = stack.get_submodule("layers")
    assert isinstance(layers, nn.ModuleList)
    for layer in layers:
        weights = {name: weight.detach().float().cpu() for name, weight in layer.named_parameters()}
        if isinstance(layer, RecurrentLayer):
            bias = weights.pop("bias")
            yield Layer(layer.cell, bias_ih=bias, bias_hh=torch.zeros_like(bias), **weights)
        else:
            yield _peer_layer(weights)


def _peer_layer(weights: Mapping[str, Tensor]) -> Layer:
    """A layer of ``nn.LSTM``, which has the gates in the order of our ``lstm``, and two biases."""

    def join(name: str) -> Tensor:
        return torch.stack([weight for key, weight in weights.items() if f".{name}_" in key])

    return Layer(
        CELLS["lstm"], join("weight_ih"), join("weight_hh"), join("bias_ih"), join("bias_hh")
    )
