"""The recurrence of one layer as one operator of torch, whichever kernel computes it.

A kernel is two functions on tensors, forward and backward. :func:`define` makes of them a custom
operator, so that autograd, ``torch.compile``, ``torch.export`` and DDP see a single node.

Shapes: G gates and P peepholes are those of the cell (:mod:`asr.nn.cells`), D directions, R the
size of what recurs: H, or that of the projection (Sak, Senior & Beaufays 2014).

    gates      (T, B, D, G * H)   W_x x_t + b for every step
    weight_hh  (D, G * H, R)
    peephole   (D, P, H)          None where the cell has none
    weight_hr  (D, R, H)          None without a projection
    h0, c0     (D, B, R), (D, B, H)
    lengths    (B,)               int64

Direction 0 runs from frame 0 to an utterance's end, direction 1 from its end to frame 0. Beyond a
length the state stays as it was and the output is 0, so padding never reaches a valid frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asr.nn.cells import CELLS
from asr.types import ModelError

__all__ = [
    "Arguments",
    "Backward",
    "Forward",
    "Gradients",
    "Operator",
    "Outputs",
    "define",
    "differentiate_once",
    "new_outputs",
    "projection_gradient",
]

NAMESPACE = "peephole_asr"
# Not `torch.library.custom_op`, whose wrapper imports the compiler, a second, at the first call.
LIBRARY = torch.library.Library(NAMESPACE, "FRAGMENT")  # type: ignore[no-untyped-call]


class Arguments(NamedTuple):
    """What a kernel computes from; the letters are explained above."""

    cell: str
    gates: Tensor
    weight_hh: Tensor
    peephole: Tensor | None
    weight_hr: Tensor | None
    h0: Tensor
    c0: Tensor
    lengths: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> Arguments:
        """The same with ``change`` made to every tensor but the lengths."""
        return self._replace(
            gates=change(self.gates),
            weight_hh=change(self.weight_hh),
            peephole=None if self.peephole is None else change(self.peephole),
            weight_hr=None if self.weight_hr is None else change(self.weight_hr),
            h0=change(self.h0),
            c0=change(self.c0),
        )


class Outputs(NamedTuple):
    """What a forward pass gives.

    ``hidden (T, B, D, R)``; ``c_n (D, B, H)``, the cell state at the end of each utterance; and
    for the backward pass, empty where nothing is kept: ``act (T, B, D, G * H)``, the gates'
    activations, and ``cells (T, B, D, H)``, the cell state after each step. Beyond a length they
    hold no meaning.
    """

    hidden: Tensor
    c_n: Tensor
    act: Tensor
    cells: Tensor


class Gradients(NamedTuple):
    """Of the tensors of :class:`Arguments`; empty where the tensor is None."""

    gates: Tensor
    weight_hh: Tensor
    peephole: Tensor
    weight_hr: Tensor
    h0: Tensor
    c0: Tensor


Operator = Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]
Forward = Callable[[Arguments, bool], Outputs]
Backward = Callable[[Arguments, Outputs, Tensor, Tensor], Gradients]

ARGUMENTS = (
    "str cell, Tensor gates, Tensor weight_hh, Tensor? peephole, Tensor? weight_hr, "
    "Tensor h0, Tensor c0, Tensor lengths"
)
OUTPUTS = "Tensor hidden, Tensor c_n, Tensor act, Tensor cells"
FORWARD = f"({ARGUMENTS}, bool training) -> ({OUTPUTS})"
BACKWARD = (
    f"({ARGUMENTS}, {OUTPUTS}, Tensor grad_hidden, Tensor grad_c_n)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def define(kernel: str, forward: Forward, backward: Backward) -> Operator:
    """Register ``peephole_asr::recurrence_<kernel>`` and return it.

    The operator takes :class:`Arguments` and a flag ``training``, and returns :class:`Outputs`.

    Args:
        kernel: name, part of the operator's.
        forward: computes the outputs; the flag asks to keep what backward needs.
        backward: gradients, from the gradients of ``hidden`` and ``c_n``. It finds an empty tensor
            in the place of ``gates``, which are given up after forward, and leaves one in the place
            of the gradient of ``weight_hh``, which is made here of the others.
    """
    name = f"recurrence_{kernel}"

    def run(*values: Any) -> tuple[Tensor, ...]:
        *arguments, training = values
        with torch.autocast(arguments[1].device.type, enabled=False):  # the state is a long sum
            return tuple(forward(Arguments(*arguments), training))

    def run_back(*values: Any) -> tuple[Tensor, ...]:
        arguments, outputs, grads = Arguments(*values[:8]), Outputs(*values[8:12]), values[12:]
        with torch.autocast(arguments[2].device.type, enabled=False):
            found = backward(arguments, outputs, *(grad.contiguous() for grad in grads))
        weight_hh = recurrent_gradient(
            found.gates, outputs.hidden, arguments.h0, arguments.lengths
        ).to(arguments.weight_hh.dtype)
        return tuple(found._replace(weight_hh=weight_hh))

    _register(
        name, FORWARD, run, lambda *values: tuple(new_outputs(Arguments(*values[:8]), values[8]))
    )
    _register(f"{name}_backward", BACKWARD, run_back, _new_gradients)
    run_backward = getattr(torch.ops.peephole_asr, f"{name}_backward").default

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        cell, gates, *tensors, training = inputs
        if not training:
            raise RuntimeError("the recurrence was run for inference; it has no gradient")
        ctx.cell = cell
        device = gates.device.type
        ctx.autocast = {
            "device_type": device,
            "dtype": torch.get_autocast_dtype(device),
            "enabled": torch.is_autocast_enabled(device),
        }
        ctx.save_for_backward(gates.new_empty(0), *tensors, *output)

    def differentiate(ctx: Any, grad_hidden: Tensor, grad_c_n: Tensor, *_: Any) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        with torch.autocast(**ctx.autocast):  # as forward ran
            grads = differentiate_once(run_backward, ctx.cell, *saved, grad_hidden, grad_c_n)
        present = (None if x is None else grad for x, grad in zip(saved, grads, strict=False))
        return None, *present, None, None

    torch.library.register_autograd(
        f"{NAMESPACE}::{name}", differentiate, setup_context=setup_context, lib=LIBRARY
    )
    operator: Operator = getattr(torch.ops.peephole_asr, name).default
    return operator


def differentiate_once(run_backward: Callable[..., Any], *values: Any) -> tuple[Any, ...]:
    """The gradients that ``run_backward`` makes of ``values``; to differentiate them is an error.

    Without it autograd would take them for constants, and second derivatives for 0.
    """
    grads: tuple[Any, ...] = _Once.apply(run_backward, *values)  # type: ignore[no-untyped-call]
    return grads


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(run_backward: Callable[..., Any], *values: Any) -> Any:
        return run_backward(*values)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise ModelError(
            "a recurrent layer has no second derivatives",
            remedy="use torch.nn.LSTM, or asr.nn.kernels.reference.forward by itself",
        )


def _register(
    name: str, schema: str, run: Callable[..., Any], run_on_shapes: Callable[..., Any]
) -> None:
    LIBRARY.define(name + schema)  # type: ignore[no-untyped-call]
    LIBRARY.impl(name, run, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"{NAMESPACE}::{name}", run_on_shapes, lib=LIBRARY)


def _new_gradients(*values: Any) -> tuple[Tensor, ...]:
    """Uninitialised :class:`Gradients` for the arguments of a backward operator."""
    arguments, act = Arguments(*values[:8]), values[10]
    tensors = (act, *arguments[2:7])
    return tuple(act.new_empty(0) if x is None else torch.empty_like(x) for x in tensors)


def new_outputs(arguments: Arguments, keep: bool) -> Outputs:
    """Uninitialised outputs of the right shapes; ``keep`` makes room for what backward needs."""
    cell, gates, weight_hh, *_, c0, _ = arguments
    T, B, D, GH = gates.shape
    H = GH // len(CELLS[cell].gates)
    has_state = CELLS[cell].has_state
    return Outputs(
        hidden=gates.new_empty(T, B, D, weight_hh.shape[2]),
        c_n=torch.empty_like(c0),
        act=torch.empty_like(gates) if keep else gates.new_empty(0),
        cells=c0.new_empty(T, B, D, H) if keep and has_state else c0.new_empty(0),
    )


def recurrent_gradient(d: Tensor, hidden: Tensor, h0: Tensor, lengths: Tensor) -> Tensor:
    """Gradient of ``weight_hh``: the errors ``d (T, B, D, G * H)`` by the hidden vectors before.

    ``d`` and ``hidden (T, B, D, R)`` are 0 beyond the lengths. Autocast makes it a product of its
    type, as the gradient of any other weight.

    Returns:
        ``(D, G * H, R)``, one matrix product a direction over all steps.
    """
    T, B, D, GH = d.shape
    if T == 0:
        return d.new_zeros(D, GH, hidden.shape[3])
    here = torch.arange(B, device=d.device)
    first = [torch.zeros_like(lengths), (lengths - 1).clamp(min=0)]  # each direction's first frame
    gradients = []
    for direction in range(D):
        later, earlier = (d[1:], hidden[:-1]) if direction == 0 else (d[:-1], hidden[1:])
        product = later[:, :, direction].flatten(0, 1).t() @ earlier[:, :, direction].flatten(0, 1)
        start = d[first[direction], here, direction]  # (B, G * H)
        gradients.append(torch.addmm(product, start.t(), h0[direction]))
    return torch.stack(gradients)


def projection_gradient(name: str, grad_m: Tensor, act: Tensor, cells: Tensor) -> Tensor:
    """Gradient of ``weight_hr``: the error at its output by the cell's output.

    ``grad_m (T, B, D, R)`` is 0 beyond the lengths.

    Returns:
        ``(D, R, H)``.
    """
    m = act
    if CELLS[name].has_state:
        o = act.chunk(len(CELLS[name].gates), dim=-1)[-1]
        m = o * torch.tanh(cells)
    return torch.einsum("tbdr,tbdh->drh", grad_m, m)
