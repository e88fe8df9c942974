"""Recurrent layers that read fewer and fewer frames: neighbours are joined between layers.

Chan, Jaitly, Le & Vinyals, "Listen, attend and spell" (2015), section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn
from torch.nn import functional as F

from asr.nn.chunks import States
from asr.nn.front import mask_frames, reduced

if TYPE_CHECKING:
    from asr.nn.recurrent import RecurrentStack

__all__ = ["Pyramid", "join_frames"]


class Pyramid(nn.Module):
    """Stacks of recurrent layers, with frames joined behind each but the last.

    Args:
        make_stack: a stack of so many layers, called with the size of its input and their number.
        input_size, output_size: features a frame before the first layer, and behind each.
        reductions: frames that become one behind each layer but the last; 1 joins none.
        dropout: on what goes from one stack to the next.
    """

    def __init__(
        self,
        make_stack: Callable[[int, int], nn.Module],
        input_size: int,
        output_size: int,
        reductions: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        self.factors = [factor for factor in reductions if factor > 1]
        self.dropout = nn.Dropout(dropout)
        self.stacks = nn.ModuleList()
        for count, factor in _runs(reductions):
            self.stacks.append(make_stack(input_size, count))
            input_size = factor * output_size

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        """Map ``x (B, T, F)`` with ``lengths (B,)`` to the last layer's output, and no state."""
        for number, stack in enumerate(self.stacks):
            if number:
                x = self.dropout(x)
                x, lengths = join_frames(x, lengths, self.factors[number - 1])
            x, _ = stack(x, lengths=lengths)  # (B, T, D * H)
        return x, None

    def chunk(
        self, x: Tensor, lengths: Tensor, frames: int, states: States | None = None
    ) -> tuple[Tensor, States]:
        """As :meth:`asr.nn.recurrent.RecurrentStack.chunk`; ``frames`` are those of ``x``.

        But for the last of a sequence, chunk and look-ahead are multiples of all reductions.
        """
        ends: list[tuple[Tensor, Tensor]] = []
        for number, module in enumerate(self.stacks):
            stack = cast("RecurrentStack", module)
            if number:
                x = self.dropout(x)
                x, lengths = join_frames(x, lengths, self.factors[number - 1])
                frames //= self.factors[number - 1]
            count = len(stack.layers)
            mine = None if states is None else states[len(ends) : len(ends) + count]
            x, carried = stack.chunk(x, lengths, frames, mine)
            ends += carried
        return x, ends


def _runs(reductions: Sequence[int]) -> list[tuple[int, int]]:
    """How many layers follow each other without a reduction, and the reduction behind them."""
    runs, count = [], 1
    for factor in reductions:
        if factor > 1:
            runs.append((count, factor))
            count = 0
        count += 1
    return [*runs, (count, 1)]


def join_frames(x: Tensor, lengths: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Lay ``factor`` neighbouring frames side by side.

    ``(B, T, F)`` becomes ``(B, ⌈T / factor⌉, factor * F)``, with zeros for what an utterance lacks.
    """
    B, T, size = x.shape
    x = F.pad(mask_frames(x, lengths), (0, 0, 0, -T % factor))
    return x.reshape(B, x.shape[1] // factor, factor * size), reduced(lengths, factor)
