"""Bidirectional peephole LSTM layers, exact on batches of unequal lengths.

Every sequence is left-aligned for both directions: the backward direction reads each utterance
reversed *within its own length*. Both directions then run in one loop over time, what lies beyond
an utterance's end never reaches its valid steps, and no result depends on the batch around it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from asr.nn.kernels import get_kernel
from asr.types import ModelError

__all__ = ["PeepholeLSTM", "PeepholeLSTMLayer", "TorchLSTM", "reverse_within_lengths"]

FORGET_BIAS = 1.0  # Gers et al. 2000: begin with the forget gate open


def reverse_within_lengths(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each sequence of ``x (T, B, ...)`` within its length ``(B,)``; padding stays put."""
    reversed_: Tensor = _ReverseWithinLengths.apply(x, lengths)  # type: ignore[no-untyped-call]
    return reversed_


class _ReverseWithinLengths(torch.autograd.Function):
    """A permutation that is its own inverse, so backward is the same gather again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, lengths: Tensor) -> Tensor:
        ctx.save_for_backward(lengths)
        return _gather_reversed(x, lengths)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (lengths,) = ctx.saved_tensors
        return _gather_reversed(grad, lengths), None


def _gather_reversed(x: Tensor, lengths: Tensor) -> Tensor:
    t = torch.arange(x.shape[0], device=x.device).unsqueeze(1)  # (T, 1)
    source = torch.where(t < lengths, lengths - 1 - t, t)  # (T, B)
    return x[source, torch.arange(x.shape[1], device=x.device)]


class PeepholeLSTMLayer(nn.Module):
    """One layer: peephole LSTM cells in one direction or both (Graves et al. 2013, eqs. 3–7).

    Weights, per direction: ``weight_ih (4H, I)``, ``weight_hh (4H, H)``, one ``bias (4H,)`` and
    diagonal ``peephole (3, H)`` into the input, forget and output gate. Initially weights and
    biases are uniform in ±1/√H, the forget gate's bias is 1 and peepholes are 0, so that a new
    layer begins as an LSTM without them.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bidirectional: bool = True,
        kernel: str = "auto",
    ) -> None:
        super().__init__()
        D = 2 if bidirectional else 1
        self.hidden_size = hidden_size
        self.bidirectional = bidirectional
        self.kernel = get_kernel(kernel)
        self.weight_ih = nn.Parameter(torch.empty(D, 4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(D, 4 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(D, 4 * hidden_size))
        self.peephole = nn.Parameter(torch.empty(D, 3, hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights from torch's global generator."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in (self.weight_ih, self.weight_hh, self.bias):
            nn.init.uniform_(weight, -bound, bound)
        with torch.no_grad():
            self.bias[:, self.hidden_size : 2 * self.hidden_size] = FORGET_BIAS
        nn.init.zeros_(self.peephole)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Map ``x (T, B, I)`` to ``(T, B, D * H)``; steps beyond a length hold no meaning."""
        T, B, _ = x.shape
        if self.bidirectional:
            x = torch.stack([x, reverse_within_lengths(x, lengths)])  # (D, T, B, I)
        else:
            x = x.unsqueeze(0)
        gates = torch.baddbmm(
            self.bias.unsqueeze(1), x.flatten(1, 2), self.weight_ih.transpose(1, 2)
        ).view(-1, T, B, 4 * self.hidden_size)  # (D, T, B, 4H)
        with torch.autocast(x.device.type, enabled=False):  # the cell state is a long sum
            gates = gates.to(self.weight_hh.dtype)
            hidden = self.kernel(gates, self.weight_hh, self.peephole)  # (D, T, B, H)
        if not self.bidirectional:
            return hidden.squeeze(0)
        return torch.cat([hidden[0], reverse_within_lengths(hidden[1], lengths)], dim=-1)

    @torch.no_grad()
    def load_torch(self, lstm: nn.LSTM, layer: int = 0) -> None:
        """Copy layer ``layer`` of an ``nn.LSTM`` with biases; peepholes become 0.

        Raises:
            ModelError: sizes or directions differ, or ``lstm`` uses projections or no biases.
        """
        if lstm.proj_size or not lstm.bias or lstm.bidirectional != self.bidirectional:
            raise ModelError(
                "nn.LSTM weights do not fit",
                remedy="use an nn.LSTM with biases, without projection, of the same directions",
            )
        for d, suffix in enumerate(["", "_reverse"][: self.weight_ih.shape[0]]):
            w_ih = getattr(lstm, f"weight_ih_l{layer}{suffix}")
            if w_ih.shape != self.weight_ih[d].shape:
                raise ModelError(
                    f"nn.LSTM has weights {tuple(w_ih.shape)}, "
                    f"this layer {tuple(self.weight_ih[d].shape)}",
                    remedy="use the same input and hidden sizes",
                )
            self.weight_ih[d] = w_ih
            self.weight_hh[d] = getattr(lstm, f"weight_hh_l{layer}{suffix}")
            self.bias[d] = getattr(lstm, f"bias_ih_l{layer}{suffix}") + getattr(
                lstm, f"bias_hh_l{layer}{suffix}"
            )
        self.peephole.zero_()


class TorchLSTM(nn.Module):
    """``torch.nn.LSTM`` as a layer of the same shape: the peer in every comparison.

    It runs one ``nn.LSTM`` per direction on left-aligned sequences, which gives the results of a
    ``PackedSequence`` several times faster on CPU. Initialised like :class:`PeepholeLSTMLayer`.
    """

    def __init__(self, input_size: int, hidden_size: int, *, bidirectional: bool = True) -> None:
        super().__init__()
        lstms = [nn.LSTM(input_size, hidden_size) for _ in range(2 if bidirectional else 1)]
        self.directions = nn.ModuleList(lstms)
        with torch.no_grad():
            for lstm in lstms:
                for name, value in (("bias_ih_l0", FORGET_BIAS), ("bias_hh_l0", 0.0)):
                    lstm.get_parameter(name)[hidden_size : 2 * hidden_size] = value

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Map ``x (T, B, I)`` to ``(T, B, D * H)``; steps beyond a length hold no meaning."""
        outputs = [self.directions[0](x)[0]]
        if len(self.directions) == 2:
            backward = self.directions[1](reverse_within_lengths(x, lengths))[0]
            outputs.append(reverse_within_lengths(backward, lengths))
        return torch.cat(outputs, dim=-1)


class PeepholeLSTM(nn.Module):
    """A stack of recurrent layers with dropout between them.

    Args:
        input_size: features per frame.
        hidden_size: cells per direction, H.
        num_layers: layers.
        bidirectional: run each layer in both directions and join their outputs.
        dropout: probability of dropping an output of every layer but the last, in training.
        cell: ``"peephole"``, or ``"torch-lstm"`` for ``torch.nn.LSTM`` as the peer.
        kernel: a name in :data:`asr.nn.kernels.KERNELS`, or ``"auto"``.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = True,
        dropout: float = 0.0,
        cell: str = "peephole",
        kernel: str = "auto",
    ) -> None:
        super().__init__()
        width = hidden_size * (2 if bidirectional else 1)
        sizes = [input_size] + [width] * (num_layers - 1)
        self.layers = nn.ModuleList(
            TorchLSTM(size, hidden_size, bidirectional=bidirectional)
            if cell == "torch-lstm"
            else PeepholeLSTMLayer(size, hidden_size, bidirectional=bidirectional, kernel=kernel)
            for size in sizes
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Map ``x (B, T, I)`` with ``lengths (B,)`` to ``(B, T, D * H)``, 0 beyond the lengths."""
        x = x.transpose(0, 1)  # (T, B, I)
        for number, layer in enumerate(self.layers):
            x = layer(x if number == 0 else self.dropout(x), lengths)
        t = torch.arange(x.shape[0], device=x.device).unsqueeze(1)  # (T, 1)
        x = x.masked_fill((t >= lengths).unsqueeze(2), 0.0)
        return x.transpose(0, 1)  # (B, T, D * H)

    def load_torch(self, lstm: nn.LSTM) -> None:
        """Copy the weights of an ``nn.LSTM`` of the same shape; peepholes become 0.

        Raises:
            ModelError: the shapes differ, or this stack is itself of ``nn.LSTM`` layers.
        """
        if lstm.num_layers != len(self.layers):
            raise ModelError(
                f"nn.LSTM has {lstm.num_layers} layers, this stack {len(self.layers)}",
                remedy="use the same number of layers",
            )
        for number, layer in enumerate(self.layers):
            if not isinstance(layer, PeepholeLSTMLayer):
                raise ModelError("only peephole layers load nn.LSTM weights")
            layer.load_torch(lstm, number)
