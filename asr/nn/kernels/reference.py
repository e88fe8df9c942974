"""The recurrence in plain tensor operations, written to be read beside the papers.

Equation numbers are those of Graves, Mohamed & Hinton, "Speech recognition with deep recurrent
neural networks" (2013), section 2; the peepholes are from Gers, Schraudolph & Schmidhuber,
"Learning precise timing with LSTM recurrent networks" (2002). Gradients come from autograd.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["peephole_lstm", "peephole_step"]


def peephole_step(
    net: Tensor, h: Tensor, c: Tensor, weight_hh: Tensor, peephole: Tensor
) -> tuple[Tensor, Tensor]:
    """One time step for every direction and utterance.

    Args:
        net: input to the gates from below, ``W_x x_t + b``, ``(D, B, 4H)``, gates in the order
            input, forget, cell, output (that of ``torch.nn.LSTM``).
        h: hidden vector of the step before, ``(D, B, H)``.
        c: cell state of the step before, ``(D, B, H)``.
        weight_hh: recurrent weights ``(D, 4H, H)``.
        peephole: diagonal weights from the cell to the input, forget and output gate,
            ``(D, 3, H)``.

    Returns:
        ``(h_t, c_t)``, each ``(D, B, H)``.
    """
    net = net + torch.bmm(h, weight_hh.transpose(1, 2))  # (D, B, 4H)
    net_i, net_f, net_c, net_o = net.chunk(4, dim=-1)  # each (D, B, H)
    w_ci, w_cf, w_co = peephole.unsqueeze(2).unbind(1)  # each (D, 1, H)
    i = torch.sigmoid(net_i + w_ci * c)  # (3)
    f = torch.sigmoid(net_f + w_cf * c)  # (4)
    c = f * c + i * torch.tanh(net_c)  # (5)
    o = torch.sigmoid(net_o + w_co * c)  # (6): the output gate sees the new cell state
    h = o * torch.tanh(c)  # (7)
    return h, c


def peephole_lstm(gates: Tensor, weight_hh: Tensor, peephole: Tensor) -> Tensor:
    """Run :func:`peephole_step` over time from a zero state.

    Args:
        gates: ``W_x x_t + b`` for all steps, ``(D, T, B, 4H)``.
        weight_hh: ``(D, 4H, H)``.
        peephole: ``(D, 3, H)``.

    Returns:
        hidden vectors ``(D, T, B, H)``.
    """
    D, T, B, H = *gates.shape[:3], weight_hh.shape[2]
    h = gates.new_zeros(D, B, H)
    c = gates.new_zeros(D, B, H)
    hidden = []
    for t in range(T):
        h, c = peephole_step(gates[:, t], h, c, weight_hh, peephole)
        hidden.append(h)
    return torch.stack(hidden, dim=1) if hidden else gates.new_zeros(D, 0, B, H)
