"""The lineage of recurrent cells, one function each, written to be read beside the papers.

A cell's ``step`` maps the net inputs of one time step and the state before it to the state after;
its ``back`` carries the error the other way. They know nothing of weights, time or batches:
:mod:`asr.nn.kernels.reference` runs them over time, and the faster kernels compute the same.

``rnn``        simple recurrent network: Elman 1990; Hochreiter 1991, chapter 3, analyses its error
``lstm-1997``  constant error carousel, input and output gate: Hochreiter & Schmidhuber 1997, sec. 4
``lstm``       with a forget gate: Gers, Schmidhuber & Cummins 2000, sec. 3
``peephole``   the gates see the cell: Gers, Schraudolph & Schmidhuber 2002, sec. 3; written as in
               Graves, Mohamed & Hinton 2013, eqs. 3-7
``coupled``    one gate to write and to forget: Greff et al. 2017, "CIFG", with peepholes

Letters: ``i f o`` activations of the input, forget and output gate, ``z`` what may enter the cell,
``c`` the cell state, ``m`` the cell's output, ``w`` a peephole; ``net_x`` is what x squashes, and
``d_x`` the error at it, the derivative of the objective by ``net_x`` (Gers et al. 2002, sec. 2;
Graves 2012, sec. 4.6).

Two things are the same for all and differ from the first papers: tanh squashes what enters the cell
and what leaves it (1997: logistic functions scaled to [-2, 2] and [-1, 1]), and the whole gradient
flows (1997 and 2000: truncated when it leaves a memory block).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["CELLS", "Cell"]

Tensors = tuple[Tensor, ...]
Step = Callable[[Tensors, Tensor, Tensors], tuple[Tensor, Tensor, Tensors]]
Back = Callable[[Tensors, Tensor, Tensor, Tensor, Tensor, Tensors], tuple[Tensors, Tensor]]


@dataclass(frozen=True)
class Cell:
    """One system of the lineage. All tensors of ``step`` and ``back`` are ``(..., H)``.

    Attributes:
        name: as above.
        gates: in the order of the weights' rows, H rows each; ``h`` for a unit without a cell.
        peepholes: gates that see the cell, in the order of the peephole weights.
        step: ``(nets, c, peepholes)`` to ``(m, c, activations)``, the state after the step.
        back: ``(activations, c_before, c, grad_m, grad_c, peepholes)`` to ``(d, grad_c_before)``.
    """

    name: str
    gates: str
    peepholes: str
    step: Step
    back: Back

    @property
    def has_state(self) -> bool:
        """Whether there is a cell state beside the output."""
        return "z" in self.gates


# Simple recurrent network


def _rnn(nets: Tensors, c: Tensor, _: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    (net_h,) = nets
    h = torch.tanh(net_h)
    return h, c, (h,)


def _rnn_back(
    acts: Tensors, c_before: Tensor, c: Tensor, grad_m: Tensor, grad_c: Tensor, _: Tensors
) -> tuple[Tensors, Tensor]:
    (h,) = acts
    return (grad_m * (1 - h * h),), grad_c


# LSTM of 1997


def _lstm_1997(nets: Tensors, c: Tensor, _: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    net_i, net_z, net_o = nets
    i, z, o = torch.sigmoid(net_i), torch.tanh(net_z), torch.sigmoid(net_o)
    c = c + i * z  # the carousel: self-weight 1, linear
    return o * torch.tanh(c), c, (i, z, o)


def _lstm_1997_back(
    acts: Tensors, c_before: Tensor, c: Tensor, grad_m: Tensor, grad_c: Tensor, _: Tensors
) -> tuple[Tensors, Tensor]:
    i, z, o = acts
    s = torch.tanh(c)
    d_o = grad_m * s * o * (1 - o)
    grad_c = grad_c + grad_m * o * (1 - s * s)
    d_i = grad_c * z * i * (1 - i)
    d_z = grad_c * i * (1 - z * z)
    return (d_i, d_z, d_o), grad_c  # the error in the cell flows on unchanged


# With a forget gate


def _lstm(nets: Tensors, c: Tensor, _: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    net_i, net_f, net_z, net_o = nets
    i, f, o = torch.sigmoid(net_i), torch.sigmoid(net_f), torch.sigmoid(net_o)
    z = torch.tanh(net_z)
    c = f * c + i * z  # the self-weight has become the forget gate
    return o * torch.tanh(c), c, (i, f, z, o)


def _lstm_back(
    acts: Tensors, c_before: Tensor, c: Tensor, grad_m: Tensor, grad_c: Tensor, _: Tensors
) -> tuple[Tensors, Tensor]:
    i, f, z, o = acts
    s = torch.tanh(c)
    d_o = grad_m * s * o * (1 - o)
    grad_c = grad_c + grad_m * o * (1 - s * s)
    d_i = grad_c * z * i * (1 - i)
    d_f = grad_c * c_before * f * (1 - f)
    d_z = grad_c * i * (1 - z * z)
    return (d_i, d_f, d_z, d_o), grad_c * f


# With peepholes


def _peephole(nets: Tensors, c: Tensor, peepholes: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    net_i, net_f, net_z, net_o = nets
    w_ci, w_cf, w_co = peepholes
    i = torch.sigmoid(net_i + w_ci * c)  # (3)
    f = torch.sigmoid(net_f + w_cf * c)  # (4)
    z = torch.tanh(net_z)
    c = f * c + i * z  # (5)
    o = torch.sigmoid(net_o + w_co * c)  # (6): the output gate sees the new cell state
    return o * torch.tanh(c), c, (i, f, z, o)  # (7)


def _peephole_back(
    acts: Tensors, c_before: Tensor, c: Tensor, grad_m: Tensor, grad_c: Tensor, peepholes: Tensors
) -> tuple[Tensors, Tensor]:
    i, f, z, o = acts
    w_ci, w_cf, w_co = peepholes
    s = torch.tanh(c)
    d_o = grad_m * s * o * (1 - o)
    grad_c = grad_c + grad_m * o * (1 - s * s) + d_o * w_co
    d_i = grad_c * z * i * (1 - i)
    d_f = grad_c * c_before * f * (1 - f)
    d_z = grad_c * i * (1 - z * z)
    return (d_i, d_f, d_z, d_o), grad_c * f + d_i * w_ci + d_f * w_cf


# With one gate to write and to forget


def _coupled(nets: Tensors, c: Tensor, peepholes: Tensors) -> tuple[Tensor, Tensor, Tensors]:
    net_i, net_z, net_o = nets
    w_ci, w_co = peepholes
    i = torch.sigmoid(net_i + w_ci * c)
    z = torch.tanh(net_z)
    c = (1 - i) * c + i * z  # f = 1 - i: what is written is forgotten
    o = torch.sigmoid(net_o + w_co * c)
    return o * torch.tanh(c), c, (i, z, o)


def _coupled_back(
    acts: Tensors, c_before: Tensor, c: Tensor, grad_m: Tensor, grad_c: Tensor, peepholes: Tensors
) -> tuple[Tensors, Tensor]:
    i, z, o = acts
    w_ci, w_co = peepholes
    s = torch.tanh(c)
    d_o = grad_m * s * o * (1 - o)
    grad_c = grad_c + grad_m * o * (1 - s * s) + d_o * w_co
    d_i = grad_c * (z - c_before) * i * (1 - i)
    d_z = grad_c * i * (1 - z * z)
    return (d_i, d_z, d_o), grad_c * (1 - i) + d_i * w_ci


CELLS: dict[str, Cell] = {
    cell.name: cell
    for cell in (
        Cell("rnn", "h", "", _rnn, _rnn_back),
        Cell("lstm-1997", "izo", "", _lstm_1997, _lstm_1997_back),
        Cell("lstm", "ifzo", "", _lstm, _lstm_back),
        Cell("peephole", "ifzo", "ifo", _peephole, _peephole_back),
        Cell("coupled", "izo", "io", _coupled, _coupled_back),
    )
}
