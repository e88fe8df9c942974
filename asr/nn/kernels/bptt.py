"""The recurrence with its backward pass written out: backpropagation through time by hand.

Autograd through the reference adds up the recurrent weights' gradient once a step. Here the steps
only carry the error to the gates' inputs (Gers et al. 2002, section 2; Graves' thesis, section
4.6.2), and every weight gradient is one matrix product over all steps at the end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["peephole_lstm"]


def peephole_lstm(gates: Tensor, weight_hh: Tensor, peephole: Tensor) -> Tensor:
    """Compute what :func:`asr.nn.kernels.reference.peephole_lstm` computes, faster.

    Same arguments and shapes. Kept for backward: the gates' activations ``4H``, the cell state
    ``H`` and its squashed value ``H`` per step, direction and utterance.
    """
    hidden: Tensor = _PeepholeLSTM.apply(  # type: ignore[no-untyped-call]
        gates, weight_hh, peephole
    )
    return hidden


class _PeepholeLSTM(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight_hh: Tensor, peephole: Tensor) -> Tensor:
        D, T, B, H = *gates.shape[:3], weight_hh.shape[2]
        w = weight_hh.transpose(1, 2)  # (D, H, 4H)
        w_ci_cf = peephole[:, :2].reshape(D, 1, 2 * H)
        w_co = peephole[:, 2:].reshape(D, 1, H)
        act = gates.new_empty(T, D, B, 4 * H)  # i, f, tanh(net_c), o after the loop
        cell = gates.new_zeros(T + 1, D, B, H)  # cell[t] is the state before step t
        squashed = gates.new_empty(T, D, B, H)  # tanh(cell[t + 1])
        hidden = gates.new_empty(D, T, B, H)
        h = gates.new_zeros(D, B, H)
        for t in range(T):
            a = torch.baddbmm(gates[:, t], h, w, out=act[t])  # (D, B, 4H)
            c_before, c = cell[t], cell[t + 1]
            i_f = a[..., : 2 * H]
            i_f.view(D, B, 2, H).addcmul_(w_ci_cf.view(D, 1, 2, H), c_before.unsqueeze(2))
            i_f.sigmoid_()
            z = a[..., 2 * H : 3 * H].tanh_()
            torch.mul(a[..., H : 2 * H], c_before, out=c).addcmul_(a[..., :H], z)
            o = a[..., 3 * H :].addcmul_(w_co, c).sigmoid_()
            torch.tanh(c, out=squashed[t])
            h = torch.mul(o, squashed[t], out=hidden[:, t])
        ctx.save_for_backward(act, cell, squashed, hidden, weight_hh, peephole)
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        act, cell, squashed, hidden, weight_hh, peephole = ctx.saved_tensors
        T, D, B, H = squashed.shape
        i, f, z, o = act.unflatten(-1, (4, H)).unbind(-2)  # each (T, D, B, H)
        # What multiplies the error, for all steps at once.
        to_o = grad_hidden.new_empty(T, D, B, H)
        torch.mul(squashed, o * (1 - o), out=to_o)
        to_c = o * (1 - squashed * squashed)
        slope = torch.stack(  # of i, f and net_c with respect to their net inputs
            [z * i * (1 - i), cell[:-1] * f * (1 - f), i * (1 - z * z)], dim=3
        )  # (T, D, B, 3, H)
        delta = grad_hidden.new_empty(D, T, B, 4, H)  # error at the net inputs
        w_co = peephole[:, None, 2]  # (D, 1, H)
        w_ci_cf = peephole[:, None, :2]  # (D, 1, 2, H)
        grad_c = grad_hidden.new_zeros(D, B, H)
        grad_h = grad_hidden.new_empty(D, B, H)
        for t in reversed(range(T)):
            if t == T - 1:
                grad_h.copy_(grad_hidden[:, t])
            else:
                torch.baddbmm(grad_hidden[:, t], delta[:, t + 1].flatten(2), weight_hh, out=grad_h)
            d = delta[:, t]  # (D, B, 4, H)
            d_o = torch.mul(grad_h, to_o[t], out=d[:, :, 3])
            grad_c.addcmul_(grad_h, to_c[t]).addcmul_(d_o, w_co)
            torch.mul(grad_c.unsqueeze(2), slope[t], out=d[:, :, :3])
            grad_c.mul_(f[t]).add_((d[:, :, :2] * w_ci_cf).sum(2))
        before = torch.cat([hidden.new_zeros(D, 1, B, H), hidden[:, :-1]], dim=1)
        grad_weight = torch.bmm(
            delta.reshape(D, T * B, 4 * H).transpose(1, 2), before.reshape(D, T * B, H)
        )  # (D, 4H, H)
        c = cell.transpose(0, 1)  # (D, T + 1, B, H)
        grad_peephole = torch.stack(
            [
                (delta[..., 0, :] * c[:, :-1]).sum((1, 2)),
                (delta[..., 1, :] * c[:, :-1]).sum((1, 2)),
                (delta[..., 3, :] * c[:, 1:]).sum((1, 2)),
            ],
            dim=1,
        )  # (D, 3, H)
        return delta.flatten(3), grad_weight, grad_peephole
