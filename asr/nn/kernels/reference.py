"""The recurrence in plain tensor operations: the definition that every kernel has to agree with.

Runs on any device and in any floating type. Backward is backpropagation through time written out
(Gers et al. 2002, sec. 2; Graves 2012, sec. 4.6): the steps carry the error to the net inputs, and
every weight's gradient is summed over all steps at the end. :func:`forward` is differentiable by
autograd as well, and that is how its backward is tested.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from asr.nn.cells import CELLS
from asr.nn.kernels.operator import (
    Arguments,
    Gradients,
    Outputs,
    define,
    projection_gradient,
)

__all__ = ["forward", "operator"]


def forward(arguments: Arguments, training: bool = True) -> Outputs:
    """Run a cell over time in one direction or both; see :mod:`asr.nn.kernels.operator`."""
    name, gates, weight_hh, peephole, weight_hr, h, c, lengths = _wide(arguments)
    cell = CELLS[name]
    T, B, D, _ = gates.shape
    w_hh = weight_hh.transpose(1, 2)  # (D, R, G * H)
    peepholes = _peepholes(peephole)
    hidden, act, cells = _Frames(T, D), _Frames(T, D), _Frames(T, D)
    for now in _steps(T, D):
        valid = _valid(now, lengths)
        net = _at(gates, now) + torch.bmm(h, w_hh)  # (D, B, G * H)
        m, c_after, acts = cell.step(net.chunk(len(cell.gates), dim=-1), c, peepholes)
        if weight_hr is not None:
            m = torch.bmm(m, weight_hr.transpose(1, 2))  # (D, B, R)
        h = torch.where(valid, m, h)
        c = torch.where(valid, c_after, c)
        hidden.put(now, torch.where(valid, m, 0.0))
        if training:
            act.put(now, torch.cat(acts, dim=-1))
            cells.put(now, c)
    nothing = gates.new_empty(0)
    keeps_cells = training and cell.has_state
    return Outputs(
        hidden.stack(gates.new_empty(0, B, D, weight_hh.shape[2])).to(arguments.gates.dtype),
        c.clone(),
        act.stack(gates).to(arguments.gates.dtype) if training else nothing.clone(),
        cells.stack(gates.new_empty(0, B, D, c.shape[2])) if keeps_cells else nothing,
    )


def _backward(
    arguments: Arguments, outputs: Outputs, grad_hidden: Tensor, grad_c_n: Tensor
) -> Gradients:
    arguments = _wide(arguments)
    name, _, weight_hh, peephole, weight_hr, h0, c0, lengths = arguments
    hidden, act, cells, grad_hidden = (
        x.to(c0.dtype) for x in (outputs.hidden, outputs.act, outputs.cells, grad_hidden)
    )
    cell = CELLS[name]
    T, _, D, _ = act.shape
    peepholes = _peepholes(peephole)
    if not cell.has_state:
        cells = c0.new_zeros(*act.shape[:3], c0.shape[2])
    before = _before(cells, c0)  # the cell state before each step
    grad_h, grad_c = torch.zeros_like(h0), grad_c_n.to(c0.dtype)
    d, grad_m = _Frames(T, D), _Frames(T, D)
    for now in reversed(list(_steps(T, D))):
        valid = _valid(now, lengths)
        grad = grad_h + _at(grad_hidden, now)  # (D, B, R)
        grad_m.put(now, torch.where(valid, grad, 0.0))
        if weight_hr is not None:
            grad = torch.bmm(grad, weight_hr)  # (D, B, H)
        acts = _at(act, now).chunk(len(cell.gates), dim=-1)
        c_before, c = _at(before, now), _at(cells, now)
        parts, grad_c_before = cell.back(acts, c_before, c, grad, grad_c, peepholes)
        error = torch.where(valid, torch.cat(parts, dim=-1), 0.0)  # (D, B, G * H)
        d.put(now, error)
        grad_h = torch.where(valid, torch.bmm(error, weight_hh), grad_h)
        grad_c = torch.where(valid, grad_c_before, grad_c)
    errors = d.stack(act)
    nothing = act.new_empty(0)
    return Gradients(
        errors.to(outputs.act.dtype),
        nothing.clone(),
        nothing if peephole is None else _peephole_gradient(name, errors, before, cells),
        nothing.clone()
        if weight_hr is None
        else projection_gradient(name, grad_m.stack(hidden), act, cells).to(outputs.act.dtype),
        grad_h.to(outputs.act.dtype),
        grad_c.clone(),
    )


class _Frames:
    """Tensors of every frame, gathered by directions that reach a frame at different steps."""

    def __init__(self, T: int, D: int) -> None:
        self.frames: list[list[Tensor]] = [[torch.empty(0)] * T for _ in range(D)]

    def put(self, now: tuple[int, ...], values: Tensor) -> None:
        """Take ``values (D, B, ...)``, each direction's for the frame where it is now."""
        for d, t in enumerate(now):
            self.frames[d][t] = values[d]

    def stack(self, no_frames: Tensor) -> Tensor:
        """All as ``(T, B, D, ...)``; a copy of ``no_frames`` if there are none."""
        if not self.frames[0]:
            return no_frames.clone()
        return torch.stack([torch.stack(one) for one in self.frames], dim=2)


def _steps(T: int, D: int) -> Iterator[tuple[int, ...]]:
    """The frames at which the directions are, step by step."""
    for step in range(T):
        yield (step, T - 1 - step)[:D]


def _at(x: Tensor, now: tuple[int, ...]) -> Tensor:
    """``(D, B, ...)`` of ``x (T, B, D, ...)``, each direction at its own frame."""
    return torch.stack([x[t, :, d] for d, t in enumerate(now)])


def _valid(now: tuple[int, ...], lengths: Tensor) -> Tensor:
    return torch.stack([t < lengths for t in now]).unsqueeze(2)  # (D, B, 1)


def _wide(arguments: Arguments) -> Arguments:
    """All tensors in the type of the cell state, float32 for half-precision gates."""
    return arguments.map(lambda x: x.to(arguments.c0.dtype))


def _peepholes(peephole: Tensor | None) -> tuple[Tensor, ...]:
    return () if peephole is None else peephole.unsqueeze(2).unbind(1)  # each (D, 1, H)


def _before(cells: Tensor, c0: Tensor) -> Tensor:
    """The cell state before each step, ``(T, B, D, H)``, from those after it."""
    shifted = [torch.cat([c0[:1], cells[:-1, :, 0]])]
    if len(c0) == 2:  # before its first frame the second direction's state is c0 all along
        shifted.append(torch.cat([cells[1:, :, 1], c0[1:]]))
    return torch.stack(shifted, dim=2)


def _peephole_gradient(name: str, errors: Tensor, before: Tensor, cells: Tensor) -> Tensor:
    """``(D, P, H)``: each gate's error by the cell state that it saw."""
    gates, peepholes = CELLS[name].gates, CELLS[name].peepholes
    d = dict(zip(gates, errors.chunk(len(gates), dim=-1), strict=True))  # each (T, B, D, H)
    seen = {"i": before, "f": before, "o": cells}
    sums = [(d[g] * seen[g]).sum((0, 1)) for g in peepholes]
    return torch.stack(sums, dim=1)


operator = define("reference", forward, _backward)
