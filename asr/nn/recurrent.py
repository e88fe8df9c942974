"""Stacks of recurrent layers, called as ``torch.nn.LSTM`` is; see :mod:`asr.nn.layer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from asr.nn.cells import CELLS
from asr.nn.front import mask_frames
from asr.nn.kernels import AUTO, check_kernel
from asr.nn.layer import RecurrentLayer
from asr.types import ConfigError, ModelError

__all__ = ["RecurrentStack", "State"]

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)  # types of lengths

State = Tensor | tuple[Tensor, Tensor]  # h, or (h, c) where the cell has a state


class RecurrentStack(nn.Module):
    """A stack of recurrent layers, called as ``torch.nn.LSTM`` is.

    Gradients cannot be differentiated again: second derivatives raise :class:`ModelError`.

    Args:
        input_size: features per frame, I.
        hidden_size: cells per direction, H.
        num_layers: layers.
        batch_first: tensors are ``(B, T, ...)``, else ``(T, B, ...)``; states are always
            ``(num_layers * D, B, ...)``.
        dropout: probability of dropping an output of every layer but the last, in training.
        bidirectional: run each layer in both directions and join their outputs.
        proj_size: size of a linear projection of each layer's output, 0 for none.
        cell: a name in :data:`asr.nn.cells.CELLS`.
        kernel: a name in :data:`asr.nn.kernels.KERNELS`, or ``"auto"``.
        recompute: keep only each layer's input for the backward pass and run the layer again in
            it: about a third more time, memory of one layer instead of all.

    Raises:
        ConfigError: there is no such cell or kernel, or the projection is not smaller than H.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        cell: str = "peephole",
        kernel: str = AUTO,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ConfigError(f"unknown cell {cell!r}", remedy=f"choose one of {', '.join(CELLS)}")
        if hidden_size < 1 or num_layers < 1:
            raise ConfigError(
                f"{num_layers} layers of {hidden_size} cells", remedy="give 1 or more of each"
            )
        if not 0 <= proj_size < hidden_size:
            raise ConfigError(
                f"a projection to {proj_size} of {hidden_size} cells",
                remedy="give 0 for none, or less than the cells",
            )
        check_kernel(kernel)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.batch_first = batch_first
        self.bidirectional = bool(bidirectional)
        self.proj_size = proj_size
        self.recompute = recompute
        width = (proj_size or hidden_size) * (2 if bidirectional else 1)
        self.layers = nn.ModuleList(
            RecurrentLayer(
                size,
                hidden_size,
                cell=cell,
                bidirectional=bidirectional,
                proj_size=proj_size,
                kernel=kernel,
            )
            for size in [input_size] + [width] * (num_layers - 1)
        )
        self.dropout = nn.Dropout(dropout)

    def extra_repr(self) -> str:
        """The sizes and what is not as it is by default, as ``torch.nn.LSTM`` says it."""
        names = ("num_layers", "batch_first", "bidirectional", "proj_size", "recompute")
        ordinary = dict.fromkeys(names, 0) | {"num_layers": 1}
        chosen = [f"{n}={getattr(self, n)}" for n in names if getattr(self, n) != ordinary[n]]
        cell = self._layer(0).cell.name
        return ", ".join([f"{self.input_size}, {self.hidden_size}, cell={cell!r}", *chosen])

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, State]:
        """Map ``x (B, T, I)`` or ``(T, B, I)`` to the last layer's output, 0 beyond the lengths.

        Args:
            x: a tensor, or a ``PackedSequence``, which comes back as one.
            state: ``(h, c)`` before the first frame, ``h (num_layers * D, B, R)`` and ``c
                (num_layers * D, B, H)``; ``h`` alone for simple units; None for zeros.
            lengths: frames of each utterance ``(B,)``; None where all have T.

        Returns:
            the output ``(..., D * R)``, and the state after each direction's last frame. In half
            precision ``h`` is of the output's type and ``c``, a long sum, of float32.

        Raises:
            ModelError: shapes, lengths or a state that do not fit, or lengths beside a
                ``PackedSequence``.
        """
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise ModelError("a PackedSequence has its own lengths", remedy="leave them out")
            return self._forward_packed(x, state)
        frames = x.transpose(0, 1) if self.batch_first else x
        self._check(frames, lengths)
        T, B, _ = frames.shape
        if lengths is None:
            lengths = torch.full((B,), T, device=frames.device)
        else:
            lengths = lengths.to(frames.device)
            if not self._layer(0).takes_input(frames):  # compiled code reads no padding
                frames = _without_padding(frames, lengths)
        y, end = self._run(frames, lengths, self._states(state, frames))
        return (y.transpose(0, 1) if self.batch_first else y), end

    def _run(
        self, x: Tensor, lengths: Tensor, states: list[tuple[Tensor, Tensor]] | None
    ) -> tuple[Tensor, State]:
        ends = []
        for number, layer in enumerate(self.layers):
            if number > 0:
                x = self.dropout(x)
            before = states[number] if states else None
            if self.recompute and torch.is_grad_enabled():
                # By the weights of now: a caller's noise is no longer in the layer afterwards.
                now = dict(layer.named_parameters())
                inputs = (x, lengths, before)
                x, end = checkpoint(functional_call, layer, now, inputs, use_reentrant=False)
            else:
                x, end = layer(x, lengths, before)
            ends.append(end)
        h, c = (torch.cat(part) for part in zip(*ends, strict=True))
        return x, ((h, c) if self._layer(0).cell.has_state else h)

    def chunk(
        self,
        x: Tensor,
        lengths: Tensor,
        frames: int,
        states: Sequence[tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Map a chunk and its look-ahead ``x (B, T, I)`` or ``(T, B, I)`` as each layer does.

        See :meth:`asr.nn.layer.RecurrentLayer.chunk`. A layer reads what the one below makes of
        this chunk and look-ahead, so that no layer sees further.

        Returns:
            the output of all of ``x``, and each layer's forward state at the chunk's end.

        Raises:
            ModelError: shapes that do not fit.
        """
        y = x.transpose(0, 1) if self.batch_first else x
        self._check(y, lengths)
        y = _without_padding(y, lengths)
        ends = []
        for number in range(len(self.layers)):
            if number > 0:
                y = self.dropout(y)
            before = states[number] if states else None
            y, end = self._layer(number).chunk(y, lengths, frames, before)
            ends.append(end)
        return (y.transpose(0, 1) if self.batch_first else y), ends

    def _forward_packed(
        self, x: PackedSequence, state: State | None
    ) -> tuple[PackedSequence, State]:
        padded, lengths = pad_packed_sequence(x)  # (T, B, I), in the caller's order
        self._check(padded, lengths)
        y, end = self._run(padded, lengths.to(padded.device), self._states(state, padded))
        if x.sorted_indices is not None:
            y, lengths = y[:, x.sorted_indices], lengths[x.sorted_indices.cpu()]
        data = pack_padded_sequence(y, lengths).data
        return PackedSequence(data, x.batch_sizes, x.sorted_indices, x.unsorted_indices), end

    def _check(self, x: Tensor, lengths: Tensor | None) -> None:
        size = self.input_size
        if x.dim() != 3 or x.shape[2] != size:
            order = "(B, T, {})" if self.batch_first else "(T, B, {})"
            raise ModelError(
                f"the input has {x.dim()} dimensions, the last of {x.shape[-1] if x.dim() else 0}",
                remedy=f"give {order.format(size)}",
            )
        if lengths is None:
            return
        kind = lengths.dtype if isinstance(lengths, Tensor) else type(lengths).__name__
        if kind not in WHOLE:
            raise ModelError(
                f"lengths are {kind}", remedy="give a tensor of whole numbers of frames"
            )
        if lengths.shape != x.shape[1:2]:
            raise ModelError(
                f"lengths have shape {tuple(lengths.shape)}", remedy=f"give ({x.shape[1]},)"
            )
        if lengths.device.type != "cpu" or torch.compiler.is_compiling() or not len(lengths):
            return  # their values are not to be looked at here
        if lengths.min() < 0 or lengths.max() > len(x):
            raise ModelError(
                f"lengths run from {int(lengths.min())} to {int(lengths.max())}",
                remedy=f"give 0 to {len(x)} frames",
            )

    def _states(self, state: State | None, x: Tensor) -> list[tuple[Tensor, Tensor]] | None:
        """``state`` as ``(h, c)`` a layer."""
        if state is None:
            return None
        layer = self._layer(0)
        D, _, R = layer.weight_hh.shape
        rows, B, H = len(self.layers) * D, x.shape[1], layer.hidden_size
        parts = [state] if isinstance(state, Tensor) else list(state)
        if len(parts) != 1 + layer.cell.has_state:
            raise ModelError(
                f"the cell {layer.cell.name!r} got "
                f"{'h alone' if len(parts) == 1 else f'{len(parts)} tensors'} as its state",
                remedy="give (h, c)" if layer.cell.has_state else "give h alone, a tensor",
            )
        h, c = parts if layer.cell.has_state else (*parts, x.new_zeros(rows, B, H))
        shapes = tuple(h.shape), tuple(c.shape)
        if shapes != ((rows, B, R), (rows, B, H)):
            raise ModelError(
                f"the state's shapes are {shapes}", remedy=f"give {(rows, B, R)}, {(rows, B, H)}"
            )
        return list(zip(torch.split(h, D), torch.split(c, D), strict=True))

    def load_torch(self, rnn: nn.RNNBase) -> None:
        """Copy the weights of an ``nn.LSTM``, or a tanh ``nn.RNN``, of the same shape.

        Raises:
            ModelError: the shapes or cells differ; see
                :meth:`asr.nn.layer.RecurrentLayer.load_torch`.
        """
        if rnn.num_layers != len(self.layers):
            raise ModelError(
                f"torch's module has {rnn.num_layers} layers, this stack {len(self.layers)}",
                remedy="use the same number of layers",
            )
        for number in range(len(self.layers)):
            self._layer(number).load_torch(rnn, number)

    def _layer(self, number: int) -> RecurrentLayer:
        return cast(RecurrentLayer, self.layers[number])


def _without_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """``x (T, B, I)`` with 0 for padding, where it may count: 0 * NaN in a weight's gradient."""
    if not torch.is_grad_enabled():
        return x
    return mask_frames(x.transpose(0, 1), lengths).transpose(0, 1)
