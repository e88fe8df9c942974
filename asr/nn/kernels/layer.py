"""A whole layer on the CPU: its input's product and its recurrence in one pass of compiled code.

The gates' sums over the input are computed some frames ahead of the recurrence, which finds them
in cache, and only for frames that an utterance has. Every sum is made in one order, so that a
result has the same bits in every batch. The weights are packed first, in the order in which they
are read (native/packed.h); who does not change them does that once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from asr.nn.cells import CELLS
from asr.nn.kernels import library
from asr.nn.kernels.cpu import CODES, backward
from asr.nn.kernels.operator import Arguments, Outputs, differentiate_once, recurrent_gradient
from asr.types import ConfigError, ModelError

__all__ = ["LayerWeights", "Packed", "int8_objection", "pack", "run", "train"]


class LayerWeights(NamedTuple):
    """Of a layer of D directions, as :class:`asr.nn.layer.RecurrentLayer` has them.

    ``weight_ih (D, G * H, I)``, ``bias (D, G * H)``, ``weight_hh (D, G * H, R)``, ``peephole
    (D, P, H)`` or None, ``weight_hr (D, R, H)`` or None.
    """

    weight_ih: Tensor
    bias: Tensor
    weight_hh: Tensor
    peephole: Tensor | None
    weight_hr: Tensor | None

    def state(self) -> tuple[tuple[object, ...], ...]:
        """Where the weights that are packed lie, and how often they were changed in place.

        The memory is named by a weak reference, since an address may be that of later weights.
        Tensors of inference mode do not know their changes, so that their state equals no other.
        """
        return tuple(
            (
                StorageWeakRef(w.untyped_storage()),  # type: ignore[no-untyped-call]
                w.data_ptr(),
                object() if w.is_inference() else w._version,
            )
            for w in (self.weight_ih, self.bias, self.weight_hh)
        )


class Packed(NamedTuple):
    """Weights of a cell as the compiled code reads them, and what they were made of."""

    cell: str
    int8: bool
    sizes: tuple[int, ...]  # D, G * H, I, H, R
    data: Tensor
    made_of: tuple[tuple[object, ...], ...]


def pack(cell: str, weights: LayerWeights, *, int8: bool = False) -> Packed:
    """The input's and the recurrent weights of all directions, laid out for :func:`run`.

    ``int8`` rounds them to 8 bits, with a scale for each gate of each cell.

    Raises:
        ConfigError: 8 bits are asked of weights with a projection, or of a processor without the
            instructions for them.
        ModelError: weights that do not fit each other.
    """
    if int8 and (reason := int8_objection(weights.weight_hr is not None)):
        raise ConfigError(f"no 8 bits: {reason}", remedy="leave them out")
    sizes = D, _, I, H, R = _sizes(cell, weights)  # noqa: E741
    code, shape = CODES[cell], (int8, D, H, R, I)
    data = torch.empty(library.count("recurrence_packed_floats", code, *shape))
    library.call(
        "recurrence_pack", code, torch.get_num_threads(), *shape,
        *(w.detach().contiguous() for w in weights[:3]), data,
    )  # fmt: skip
    return Packed(cell, int8, sizes, data, weights.state())


def int8_objection(projection: bool) -> str | None:
    """Why a layer cannot have matrices of 8 bits here, or None."""
    if projection:
        return "a layer with a projection has none"
    if library.MISSING:
        return f"the compiled kernel is not here: {library.MISSING}"
    if not library.count("recurrence_int8_levels"):
        return "this processor has neither AVX2 nor AVX-512"
    return None


def run(
    packed: Packed,
    weights: LayerWeights,
    x: Tensor,
    lengths: Tensor,
    h0: Tensor,
    c0: Tensor,
    keep: bool = False,
    split: tuple[int, Tensor] | None = None,
) -> Outputs:
    """Outputs ``(T, B, D, R)`` of ``x (T, B, I)``.

    ``h0 (D, B, R)`` and ``c0 (D, B, H)`` are before each direction's first frame. ``keep``: what
    the backward pass needs as well. ``split``: a number of frames, and a tensor ``(B, H)`` for the
    forward direction's cell states behind them.

    Raises:
        ModelError: tensors that do not fit each other.
    """
    sizes = D, GH, I, H, R = _sizes(packed.cell, weights)  # noqa: E741
    if packed.sizes != sizes:
        raise ModelError(f"packed weights of {packed.sizes}", remedy=f"pack those of {sizes}")
    T, B, _ = x.shape
    _expect("x", x, (T, B, I))
    _expect("h0", h0, (D, B, R))
    _expect("c0", c0, (D, B, H))
    if lengths.shape != (B,):
        raise ModelError(f"lengths are {tuple(lengths.shape)}", remedy=f"give ({B},)")
    if x.stride(2) != 1:
        x = x.contiguous()
    if split is not None:
        _expect("split", split[1], (B, H))
    has_state = keep and CELLS[packed.cell].has_state
    outputs = Outputs(
        hidden=x.new_empty(T, B, D, R),
        c_n=torch.empty_like(c0, memory_format=torch.contiguous_format),
        act=x.new_empty(T, B, D, GH) if keep else x.new_empty(0),
        cells=x.new_empty(T, B, D, H) if has_state else x.new_empty(0),
    )
    library.call(
        "recurrence_layer", CODES[packed.cell], torch.get_num_threads(), packed.int8,
        T, B, D, H, R, GH, I, x.stride(0), x.stride(1),
        lengths.to(torch.int64).contiguous(),
        library.Address(x.data_ptr()), packed.data,
        *(None if w is None else w.contiguous() for w in weights[3:]),
        h0.contiguous(), c0.contiguous(), outputs.hidden, outputs.c_n,
        outputs.act if keep else None, outputs.cells if keep else None,
        *(split or (0, None)),
    )  # fmt: skip
    return outputs


def _sizes(cell: str, weights: LayerWeights) -> tuple[int, int, int, int, int]:
    """D, G * H, I, H and R of weights that fit each other."""
    D, GH, R = weights.weight_hh.shape
    I = weights.weight_ih.shape[-1]  # noqa: E741
    G, P = len(CELLS[cell].gates), len(CELLS[cell].peepholes)
    H = GH // G
    _expect("weight_hh", weights.weight_hh, (D, G * H, R))
    _expect("weight_ih", weights.weight_ih, (D, GH, I))
    _expect("bias", weights.bias, (D, GH))
    if P or weights.peephole is not None:
        _expect("peephole", weights.peephole, (D, P, H))
    if R != H or weights.weight_hr is not None:
        _expect("weight_hr", weights.weight_hr, (D, R, H))
    return D, GH, I, H, R


def _expect(name: str, tensor: Tensor | None, shape: tuple[int, ...]) -> None:
    """Compiled code does not look at shapes or types again."""
    if tensor is None or tensor.shape != shape or tensor.dtype != torch.float32:
        what = None if tensor is None else (tuple(tensor.shape), tensor.dtype)
        raise ModelError(f"the CPU kernel got {name} {what}", remedy=f"give float32 {shape}")


def train(
    cell: str, weights: LayerWeights, x: Tensor, lengths: Tensor, h0: Tensor, c0: Tensor
) -> tuple[Tensor, Tensor]:
    """``hidden`` and ``c_n`` of all directions, as :func:`run` has them, with gradients.

    Raises:
        ModelError: tensors that do not fit each other.
    """
    values = cell, lengths, x, *weights, h0, c0
    hidden, c_n, *_ = _Layer.apply(*values)  # type: ignore[no-untyped-call]
    return hidden, c_n


class _Frames:
    """The N frames that utterances of ``lengths (B,)`` have: rows of tensors ``(T, B, ...)``."""

    def __init__(self, lengths: Tensor, T: int) -> None:
        self._lengths = lengths
        self._shape = T, len(lengths)
        has = torch.arange(T)[:, None] < lengths  # (T, B)
        self._rows = None if bool(has.all()) else has.flatten().nonzero().flatten()

    def take(self, x: Tensor) -> Tensor:
        """``(T, B, ...)`` to ``(N, ...)``."""
        x = x.flatten(0, 1)
        return x if self._rows is None else x[self._rows]

    def put(self, x: Tensor) -> Tensor:
        """``(N, ...)`` to ``(T, B, ...)``, 0 beyond the lengths."""
        T, B = self._shape
        if self._rows is None:
            return x.view(T, B, *x.shape[1:])
        padded = x.new_zeros(T * B, *x.shape[1:]).index_copy_(0, self._rows, x)
        return padded.view(T, B, *x.shape[1:])

    def recurrent_gradient(self, d: Tensor, hidden: Tensor, h0: Tensor) -> Tensor:
        """As :func:`asr.nn.kernels.operator.recurrent_gradient`, without products of padding."""
        if self._rows is None:
            return recurrent_gradient(d, hidden, h0, self._lengths)
        T, B = self._shape
        t, b = self._rows // B, self._rows % B
        firsts = [t == 0, t == self._lengths[b] - 1]
        gradients = []
        for direction in range(d.shape[2]):
            before = (self._rows + (B if direction else -B)).clamp(0, T * B - 1)
            h = hidden.flatten(0, 1)[before, direction]  # (N, R)
            h = torch.where(firsts[direction][:, None], h0[direction][b], h)
            gradients.append(self.take(d)[:, direction].t() @ h)
        return torch.stack(gradients)


class _Layer(torch.autograd.Function):
    """:class:`Outputs` of a cell, lengths, ``x``, :class:`LayerWeights` and states."""

    @staticmethod
    def forward(cell: str, lengths: Tensor, x: Tensor, *others: Any) -> Any:
        *tensors, h0, c0 = others
        weights = LayerWeights(*tensors)
        return tuple(run(pack(cell, weights), weights, x, lengths, h0, c0, keep=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.cell, *tensors = inputs
        ctx.save_for_backward(*tensors, *output)
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)  # what backward alone reads has none

    @staticmethod
    def backward(ctx: Any, grad_hidden: Tensor | None, grad_c_n: Tensor | None, *_: Any) -> Any:
        saved = ctx.saved_tensors
        outputs = Outputs(*saved[-len(Outputs._fields) :])
        grads = differentiate_once(
            _gradients,
            ctx.cell,
            ctx.needs_input_grad[2],
            torch.zeros_like(outputs.hidden) if grad_hidden is None else grad_hidden,
            torch.zeros_like(outputs.c_n) if grad_c_n is None else grad_c_n,
            *saved,
        )
        return None, None, *grads


def _gradients(
    cell: str, of_x: bool, grad_hidden: Tensor, grad_c_n: Tensor, *saved: Any
) -> tuple[Tensor | None, ...]:
    """Of ``x``, if asked for, the weights and the states, from those of ``hidden`` and ``c_n``."""
    lengths, x, *rest = saved
    weights, (h0, c0), outputs = LayerWeights(*rest[:5]), rest[5:7], Outputs(*rest[7:])
    found = backward(
        Arguments(cell, outputs.act, *weights[2:], h0, c0, lengths),
        outputs, grad_hidden.contiguous(), grad_c_n.contiguous(),
    )  # fmt: skip
    frames = _Frames(lengths, len(x))
    errors = frames.take(found.gates.flatten(2))  # (N, D * G * H)
    return (
        frames.put(errors @ weights.weight_ih.flatten(0, 1)) if of_x else None,
        (errors.t() @ frames.take(x)).view_as(weights.weight_ih),
        errors.sum(0).view_as(weights.bias),
        frames.recurrent_gradient(found.gates, outputs.hidden, h0),
        None if weights.peephole is None else found.peephole,
        None if weights.weight_hr is None else found.weight_hr,
        found.h0,
        found.c0,
    )
