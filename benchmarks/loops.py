"""What people write when nn.LSTM has no peepholes: a loop over time, in Python or TorchScript."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

__all__ = ["PythonLoop", "script"]


class PythonLoop(nn.Module):
    """A bidirectional peephole layer, one step of one direction after another, all by autograd."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        bound = hidden_size**-0.5

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(2, *shape).uniform_(-bound, bound))

        self.weight_ih = weights(4 * hidden_size, input_size)
        self.weight_hh = weights(4 * hidden_size, hidden_size)
        self.bias = weights(4 * hidden_size)
        self.peephole = weights(3, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x (T, B, I)`` to ``(T, B, 2 * H)``."""
        directions: list[Tensor] = []
        for d in range(2):
            w_x, w_h, bias = self.weight_ih[d], self.weight_hh[d], self.bias[d]
            w_ci, w_cf, w_co = self.peephole[d][0], self.peephole[d][1], self.peephole[d][2]
            h = torch.zeros(x.shape[1], self.hidden_size, device=x.device, dtype=x.dtype)
            c = h
            outputs: list[Tensor] = []
            for step in range(x.shape[0]):
                t = step if d == 0 else x.shape[0] - 1 - step
                net = torch.nn.functional.linear(x[t], w_x, bias)
                net = net + torch.nn.functional.linear(h, w_h)
                net_i, net_f, net_z, net_o = net.chunk(4, 1)
                i = torch.sigmoid(net_i + w_ci * c)
                f = torch.sigmoid(net_f + w_cf * c)
                c = f * c + i * torch.tanh(net_z)
                h = torch.sigmoid(net_o + w_co * c) * torch.tanh(c)
                outputs.append(h)
            if d == 1:
                outputs.reverse()
            directions.append(torch.stack(outputs))
        return torch.cat(directions, dim=2)


def script(loop: PythonLoop) -> torch.nn.Module:
    """The same loop in TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated
        return torch.jit.script(loop)
