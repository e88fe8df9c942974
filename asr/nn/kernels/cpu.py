"""The recurrence in compiled code on the CPU: native/recurrence.cpp, which says how it works.

It takes what the input adds to the gates; :mod:`asr.nn.kernels.layer` is for the input itself.

Why C++ and not numba: the products of a few rows with the recurrent weights take most of the time,
and are fast only if their sums stay in vector registers and the cell is applied to them there.
Plain C++ with vector types compiles to just that in seconds. It is built at installation, without
torch's headers, for each width of vectors; nothing is compiled while a program runs.

Kept for backward, per frame, direction and cell: the activations of the gates and the cell state,
20 bytes for four gates in float32, beside the 4 bytes of output that the next layer reads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asr.nn.cells import CELLS
from asr.nn.kernels import library
from asr.nn.kernels.operator import (
    Arguments,
    Gradients,
    Outputs,
    define,
    new_outputs,
    projection_gradient,
)
from asr.types import ModelError

__all__ = ["CODES", "backward", "operator"]

CODES = {name: code for code, name in enumerate(CELLS)}


def _forward(arguments: Arguments, training: bool) -> Outputs:
    _, gates, weight_hh, peephole, weight_hr, h0, c0, lengths = arguments = _checked(arguments)
    outputs = new_outputs(arguments, training)
    act, cells = (outputs.act, outputs.cells) if training else (None, None)
    library.call(
        "recurrence_forward",
        *_sizes(arguments),
        lengths, gates, weight_hh, peephole, weight_hr, h0, c0,
        outputs.hidden, outputs.c_n, act, cells,
    )  # fmt: skip
    return outputs


def backward(
    arguments: Arguments, outputs: Outputs, grad_hidden: Tensor, grad_c_n: Tensor
) -> Gradients:
    """Gradients from those of ``hidden`` and ``c_n``; of ``weight_hh`` an empty tensor."""
    hidden, _, act, cells = outputs
    arguments = _checked(arguments._replace(gates=act))
    cell, _, weight_hh, peephole, weight_hr, h0, c0, lengths = arguments
    grad_gates, grad_h0, grad_c0 = map(torch.empty_like, (act, h0, c0))
    grad_peephole = torch.zeros_like(peephole) if peephole is not None else None
    grad_projected = torch.empty_like(hidden) if weight_hr is not None else None
    library.call(
        "recurrence_backward",
        *_sizes(arguments),
        lengths, weight_hh, peephole, weight_hr, c0, act, cells, grad_hidden, grad_c_n,
        grad_gates, grad_peephole, grad_h0, grad_c0, grad_projected,
    )  # fmt: skip
    return Gradients(
        grad_gates,
        weight_hh.new_empty(0),
        act.new_empty(0) if grad_peephole is None else grad_peephole,
        act.new_empty(0)
        if grad_projected is None
        else projection_gradient(cell, grad_projected, act, cells),
        grad_h0,
        grad_c0,
    )


def _checked(arguments: Arguments) -> Arguments:
    """``arguments`` as compiled code may read them: nothing there looks at shapes or types again.

    Raises:
        ModelError: tensors that do not fit each other.
    """
    T, B, D, GH = arguments.gates.shape
    R = arguments.weight_hh.shape[-1]
    cell = CELLS[arguments.cell]
    H, P = GH // len(cell.gates), len(cell.peepholes)
    shapes = [
        (T, B, D, len(cell.gates) * H),
        (D, GH, R),
        (D, P, H),
        (D, R, H),
        (D, B, R),
        (D, B, H),
    ]
    absent = [False, False, not P, arguments.weight_hr is None and R == H, False, False]
    for tensor, shape, none in zip(arguments[1:-1], shapes, absent, strict=True):
        fits = none if tensor is None else tensor.shape == shape and tensor.dtype == torch.float32
        if not fits:
            what = None if tensor is None else (tuple(tensor.shape), tensor.dtype)
            raise ModelError(f"the CPU kernel got {what}", remedy=f"give float32 {shape}")
    if arguments.lengths.shape != (B,):
        raise ModelError(f"lengths are {tuple(arguments.lengths.shape)}", remedy=f"give ({B},)")
    lengths = arguments.lengths.to(torch.int64).contiguous()
    return arguments.map(Tensor.contiguous)._replace(lengths=lengths)


def _sizes(arguments: Arguments) -> tuple[int, ...]:
    T, B, D, GH = arguments.gates.shape
    R, H = arguments.weight_hh.shape[2], arguments.c0.shape[2]
    return CODES[arguments.cell], torch.get_num_threads(), T, B, D, H, R, GH


operator = define("cpu", _forward, backward)
