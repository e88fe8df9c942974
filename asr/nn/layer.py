"""One recurrent layer in one direction or both, exact on batches of unequal lengths.

Any cell of :mod:`asr.nn.cells`, any kernel of :mod:`asr.nn.kernels`. Each direction starts at an
utterance's own first or last frame, what lies beyond its end never reaches a valid frame, and no
result depends on the batch around it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.nn.cells import CELLS
from asr.nn.chunks import by_stream
from asr.nn.kernels import AUTO, KERNELS, choose
from asr.nn.kernels.layer import LayerWeights, Packed, pack, run, train
from asr.types import ModelError

__all__ = ["FORGET_BIAS", "RecurrentLayer", "pack_weights"]

FORGET_BIAS = 1.0  # Gers et al. 2000: begin with the forget gate open


class RecurrentLayer(nn.Module):
    """One layer of ``hidden_size`` cells in one direction or both.

    Weights, for D directions, the cell's G gates and P peepholes, and R = ``proj_size or
    hidden_size``: ``weight_ih (D, G * H, I)``, ``weight_hh (D, G * H, R)``, one ``bias
    (D, G * H)``, diagonal ``peephole (D, P, H)`` and, with a projection, ``weight_hr (D, R, H)``.
    Gates and peepholes come in the order of :class:`asr.nn.cells.Cell`.

    Initially weights and biases are uniform in ±1/√H. The forget gate's bias is 1; the coupled
    cell's input gate has -1, which leaves its memory as open. Peepholes are 0, so that a new layer
    begins as one without them.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        cell: str = "peephole",
        bidirectional: bool = False,
        proj_size: int = 0,
        kernel: str = AUTO,
    ) -> None:
        super().__init__()
        self.cell = CELLS[cell]
        self.hidden_size = hidden_size
        self.kernel = kernel
        D, H, R = 1 + bidirectional, hidden_size, proj_size or hidden_size
        G, P = len(self.cell.gates), len(self.cell.peepholes)
        self.weight_ih = nn.Parameter(torch.empty(D, G * H, input_size))
        self.weight_hh = nn.Parameter(torch.empty(D, G * H, R))
        self.bias = nn.Parameter(torch.empty(D, G * H))
        self.peephole = nn.Parameter(torch.empty(D, P, H)) if P else None
        self.weight_hr = nn.Parameter(torch.empty(D, R, H)) if proj_size else None
        self._packed: Packed | None = None
        self.reset_parameters()

    def extra_repr(self) -> str:
        """The sizes, and what is not as it is by default."""
        D, R, H = len(self.bias), self.weight_hh.shape[2], self.hidden_size
        text = f"{self.weight_ih.shape[2]}, {H}, cell={self.cell.name!r}"
        text += ", bidirectional=True" if D == 2 else ""
        return text + (f", proj_size={R}" if self.weight_hr is not None else "")

    def __getstate__(self) -> dict[str, Any]:
        # Another machine may pack otherwise, but into 8 bits if this one did.
        packed = self._packed
        if packed is not None:
            packed = packed._replace(data=torch.empty(0), made_of=()) if packed.int8 else None
        return {**self.__dict__, "_packed": packed}

    def reset_parameters(self) -> None:
        """Draw new weights from torch's global generator."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in (self.weight_ih, self.weight_hh, self.bias, self.weight_hr):
            if weight is not None:
                nn.init.uniform_(weight, -bound, bound)
        if self.peephole is not None:
            nn.init.zeros_(self.peephole)
        with torch.no_grad():
            bias = self.bias.view(len(self.bias), -1, self.hidden_size)  # (D, G, H)
            if "f" in self.cell.gates:
                bias[:, self.cell.gates.index("f")] = FORGET_BIAS
            elif self.cell.name == "coupled":
                bias[:, self.cell.gates.index("i")] = -FORGET_BIAS

    def forward(
        self, x: Tensor, lengths: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map ``x (T, B, I)`` with ``lengths (B,)`` to ``(T, B, D * R)``, 0 beyond the lengths.

        Args:
            state: ``h (D, B, R)`` and ``c (D, B, H)`` before each direction's first frame; None
                for zeros.

        Returns:
            the output, and the state after each direction's last frame: ``h`` of the output's
            type, and ``c``, a long sum, at least of float32.
        """
        if not self.takes_input(x):
            return self._recur(self._gates(x), slice(None), lengths, state)
        h0, c0 = self._start(x, len(self.bias), state)
        if torch.is_grad_enabled():
            hidden, c_n = train(self.cell.name, self._weights(), x, lengths, h0, c0)
        else:
            hidden, c_n = self._infer(x, lengths, h0, c0)
        return hidden.flatten(2), (_last(hidden, h0, lengths), c_n)

    def pack(self, *, int8: bool = False) -> None:
        """Lay the weights out for inference on the CPU now, and not at each call.

        It costs their memory once more. Weights that are changed, moved or loaded later are laid
        out at each call again; but not those written through ``.data``, which goes unnoticed.
        ``int8`` rounds the matrices to 8 bits, for inference from now on, in copies too.
        """
        if self.takes_input(self.weight_ih):
            self._packed = pack(self.cell.name, self._weights(), int8=int8)

    def chunk(
        self, x: Tensor, lengths: Tensor, frames: int, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As :meth:`forward` for the next ``frames`` of longer sequences and some beyond them.

        The forward direction goes on from the chunk before, the backward one begins at the end of
        ``x`` (Zhang et al. 2016, "Highway long short-term memory RNNs for distant speech
        recognition", section 3.3; Xue & Yan 2017).

        Args:
            x: the chunk and its look-ahead ``(T, B, I)``, with T at least ``frames``.
            lengths: frames of ``x`` that each sequence has ``(B,)``; it may have ended before.
            frames: length of the chunk; the rest is look-ahead.
            state: ``h (1, B, R)`` and ``c (1, B, H)`` of the forward direction at the chunk's
                beginning; None at the sequences' beginning.

        Returns:
            the output of all of ``x``, and the forward direction's state at the chunk's end.
        """
        now = lengths.clamp(max=frames)
        if self.takes_input(x) and not torch.is_grad_enabled():
            h0, c0 = self._start(x, len(self.bias), None)
            if state is not None:  # of the forward direction
                h0[:1], c0[:1] = state
            c_split = torch.empty_like(c0[0])
            hidden, *_ = self._infer(x, lengths, h0, c0, (frames, c_split))
            end = _last(hidden[:frames, :, :1], h0[:1], now), c_split[None]
            return hidden.flatten(2), end
        beyond = (lengths - frames).clamp(min=0)
        gates = by_stream(self._gates, x, dim=1)  # (T, B, D, G * H)
        chunk, state = self._recur(gates[:frames, :, :1], slice(0, 1), now, state)
        ahead, _ = self._recur(gates[frames:, :, :1], slice(0, 1), beyond, state)
        output = torch.cat([chunk, ahead])  # (T, B, R)
        if len(self.bias) == 2:
            reverse, _ = self._recur(_flip(gates[:, :, 1:], lengths), slice(1, 2), lengths, None)
            output = torch.cat([output, _flip(reverse, lengths)], dim=2)
        return output, state

    def takes_input(self, x: Tensor) -> bool:
        """Whether compiled code takes the input ``x`` itself, not what it adds to the gates."""
        operator = choose(self.kernel, x, projection=self.weight_hr is not None)
        return (
            operator is KERNELS["cpu"].operator
            and self.weight_ih.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        )

    def _weights(self) -> LayerWeights:
        weights = self.weight_ih, self.bias, self.weight_hh, self.peephole, self.weight_hr
        return LayerWeights(*weights)

    def _infer(
        self,
        x: Tensor,
        lengths: Tensor,
        h0: Tensor,
        c0: Tensor,
        split: tuple[int, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The output ``(T, B, D, R)`` and the last cell states; ``split`` is :func:`run`'s."""
        weights = self._weights()
        packed = self._packed
        if packed is None or packed.made_of != weights.state():
            packed = pack(self.cell.name, weights, int8=packed is not None and packed.int8)
        hidden, c_n, *_ = run(packed, weights, x, lengths, h0, c0, split=split)
        return hidden, c_n

    def _start(
        self, like: Tensor, D: int, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """``state``, or zeros, in the types in which they are computed beside ``like``."""
        wide = torch.promote_types(like.dtype, torch.float32)
        if state is None:
            h0 = like.new_zeros(D, like.shape[1], self.weight_hh.shape[2])
            return h0, like.new_zeros(D, like.shape[1], self.hidden_size, dtype=wide)
        return state[0].to(like.dtype), state[1].to(wide)

    def _gates(self, x: Tensor) -> Tensor:
        """What the input adds to the gates ``(T, B, D, G * H)``."""
        D, GH, _ = self.weight_hh.shape
        gates = F.linear(x, self.weight_ih.flatten(0, 1), self.bias.flatten())
        return gates.view(*x.shape[:2], D, GH)

    def _recur(
        self,
        gates: Tensor,
        directions: slice,
        lengths: Tensor,
        state: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Output and last state of some directions, whose ``gates`` are ``(T, B, D', G * H)``."""
        D = gates.shape[2]
        result_type = gates.dtype
        if gates.device.type == "cpu":  # where no kernel computes in half precision
            gates = gates.to(torch.promote_types(result_type, torch.float32))
        wide = torch.promote_types(gates.dtype, torch.float32)
        h0, c0 = self._start(gates, D, state)
        operator = choose(self.kernel, gates, projection=self.weight_hr is not None)
        hidden, c_n, *_ = operator(
            self.cell.name,
            gates,
            self.weight_hh[directions].to(gates.dtype),
            None if self.peephole is None else self.peephole[directions].to(wide),
            None if self.weight_hr is None else self.weight_hr[directions].to(gates.dtype),
            h0,
            c0,
            lengths,
            torch.is_grad_enabled(),
        )
        hidden = hidden.to(result_type)
        return hidden.flatten(2), (_last(hidden, h0.to(result_type), lengths), c_n)

    @torch.no_grad()
    def load_torch(self, rnn: nn.RNNBase, layer: int = 0) -> None:
        """Copy layer ``layer`` of an ``nn.LSTM`` or, into simple units, of a tanh ``nn.RNN``.

        torch's two biases are added; peepholes become 0, as ``nn.LSTM`` has none.

        Raises:
            ModelError: the cell, a size or the number of directions differs.
        """
        self._check_torch(rnn)
        for d, suffix in enumerate(["", "_reverse"][: len(self.bias)]):
            for name in ("weight_ih", "weight_hh", "weight_hr"):
                mine, theirs = getattr(self, name), getattr(rnn, f"{name}_l{layer}{suffix}", None)
                shapes = [None if w is None else tuple(w.shape) for w in (theirs, mine)]
                if mine is not None:
                    shapes[1] = tuple(mine.shape[1:])
                if shapes[0] != shapes[1]:
                    raise ModelError(
                        f"torch's {name} is {shapes[0]}, this layer's {shapes[1]}",
                        remedy="use the same sizes of input, hidden vector and projection",
                    )
                if mine is not None:
                    mine[d] = theirs
            self.bias[d] = sum(
                getattr(rnn, f"bias_{part}_l{layer}{suffix}") if rnn.bias else 0.0
                for part in ("ih", "hh")
            )
        if self.peephole is not None:
            self.peephole.zero_()

    def _check_torch(self, rnn: nn.RNNBase) -> None:
        kind = {"rnn": "RNN_TANH", "lstm": "LSTM", "peephole": "LSTM"}.get(self.cell.name)
        if rnn.mode != kind:
            raise ModelError(
                f"weights of {rnn.mode} do not fit the cell {self.cell.name!r}",
                remedy="nn.LSTM goes into 'lstm' and 'peephole', a tanh nn.RNN into 'rnn'",
            )
        if rnn.bidirectional != (len(self.bias) == 2):
            raise ModelError(
                "torch's module has another number of directions",
                remedy=f"give one with bidirectional={len(self.bias) == 2}",
            )


def pack_weights(module: nn.Module, *, int8: bool = False) -> None:
    """:meth:`RecurrentLayer.pack` of all layers in ``module``."""
    for layer in module.modules():
        if isinstance(layer, RecurrentLayer):
            layer.pack(int8=int8)


def _flip(x: Tensor, lengths: Tensor) -> Tensor:
    """``x (T, B, ...)`` with the first ``lengths (B,)`` frames of each column in reverse order."""
    frames = torch.arange(len(x), device=x.device)[:, None]  # (T, 1)
    source = torch.where(frames < lengths, lengths - 1 - frames, frames)  # (T, B)
    return x[source, torch.arange(x.shape[1], device=x.device)]


def _last(hidden: Tensor, h0: Tensor, lengths: Tensor) -> Tensor:
    """The hidden vector ``(D, B, R)`` after each direction's last frame; ``h0`` without frames."""
    T, B, D, _ = hidden.shape
    if T == 0:
        return h0
    ends = [hidden[(lengths - 1).clamp(min=0), torch.arange(B, device=hidden.device), 0]]
    if D == 2:
        ends.append(hidden[0, :, 1])
    return torch.where((lengths > 0).unsqueeze(1), torch.stack(ends), h0)
