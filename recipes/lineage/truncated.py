"""The gradient of the first papers, which ends where it would leave a memory block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asr.nn.recurrent import RecurrentStack

__all__ = ["TruncatedLayer"]


class TruncatedLayer(nn.Module):
    """One recurrent layer whose errors flow along the cells and not through recurrent weights.

    So did LSTM learn in 1997 (appendix A.1), 2000 and 2002: an error that reaches the net input of
    a gate or a cell changes the weights there and goes no further back. The output is that of
    :class:`asr.nn.recurrent.RecurrentStack`; the same kernels compute both passes.

    Args:
        stack: of one layer in one direction, whose weights this begins with. It is used up.
    """

    def __init__(self, stack: RecurrentStack) -> None:
        super().__init__()
        source = stack.layers[0]
        hidden_size, self._input_size = source.hidden_size, source.weight_ih.shape[2]
        # Learns: the hidden vectors before are part of its input, constants to the gradient.
        self.learner = RecurrentStack(
            self._input_size + hidden_size, hidden_size, cell=source.cell.name
        )
        layer = self.learner.layers[0]
        with torch.no_grad():
            layer.weight_ih.copy_(torch.cat([source.weight_ih, source.weight_hh], 2))
            layer.bias.copy_(source.bias)
            if layer.peephole is not None:
                layer.peephole.copy_(source.peephole)
            layer.weight_hh.zero_().requires_grad_(False)
        # Shows what those hidden vectors are; outside the list of modules, as it owns no weights.
        self._runner = [stack.requires_grad_(False)]

    def forward(
        self,
        x: Tensor,
        state: tuple[Tensor, Tensor] | None = None,
        *,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map ``x (T, B, I)`` to ``(T, B, H)`` and the state after, as a stack does."""
        with torch.no_grad():
            hidden, end = self._run(x, state, lengths)
        if not torch.is_grad_enabled():
            return hidden, end
        first = torch.zeros_like(hidden[:1]) if state is None else state[0]
        seen = torch.cat([x, torch.cat([first, hidden[:-1]])], 2)
        output, (h, c) = self.learner(seen, state, lengths=lengths)
        return output, (h, c)

    def _run(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None, lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        (runner,) = self._runner
        mine, layer = runner.layers[0], self.learner.layers[0]
        mine.weight_ih.copy_(layer.weight_ih[..., : self._input_size])
        mine.weight_hh.copy_(layer.weight_ih[..., self._input_size :])
        mine.bias.copy_(layer.bias)
        if mine.peephole is not None:
            mine.peephole.copy_(layer.peephole)
        output, end = runner(x, state, lengths=lengths)
        return output, end
