"""Bidirectional layers over sequences whose end is not known yet: a chunk at a time.

A chunk of frames is read with some frames of look-ahead. The forward direction carries its state
from chunk to chunk, the backward one begins at the end of the look-ahead: Zhang, Chen, Yu, Yao,
Khudanpur & Glass, "Highway long short-term memory RNNs for distant speech recognition" (2016),
section 3.3, there called latency-controlled. With a chunk as long as the sequence it is the
bidirectional network itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from asr.options import is_integer
from asr.types import ConfigError

__all__ = ["ChunkedStack", "Chunking", "States", "alone", "by_stream", "run_chunks"]

States = Sequence[tuple[Tensor, Tensor]]
LONGEST_SECONDS = 5.0  # of a chunk or a look-ahead: text that comes later is not live


@dataclass(frozen=True)
class Chunking:
    """How far ahead is read. Both are in frames of log-probabilities.

    Attributes:
        frames: new frames of a chunk. Each waits for the end of its chunk and for the look-ahead.
        look_ahead: frames that are read beyond a chunk, and read again with the next one.
    """

    frames: int
    look_ahead: int

    def __post_init__(self) -> None:
        for name, least in (("frames", 1), ("look_ahead", 0)):
            value = getattr(self, name)
            if not is_integer(value) or value < least:
                raise ConfigError(
                    f"{name} of chunks is {value!r}", remedy=f"give an integer from {least} up"
                )

    @classmethod
    def of_seconds(cls, chunk: float, look_ahead: float, seconds_per_frame: float) -> Chunking:
        """The nearest that frames of ``seconds_per_frame`` allow.

        Raises:
            ConfigError: one is no time from 0 to 5 s, or the chunk is 0.
        """
        for name, seconds in (("chunk", chunk), ("look-ahead", look_ahead)):
            # Said the other way round, NaN would pass.
            if not 0.0 <= seconds <= LONGEST_SECONDS or (name == "chunk" and seconds == 0.0):
                raise ConfigError(
                    f"the {name} is {seconds:g} s",
                    remedy=f"give seconds from 0 to {LONGEST_SECONDS:g}, a chunk above 0",
                )
        return cls(max(1, round(chunk / seconds_per_frame)), round(look_ahead / seconds_per_frame))


class ChunkedStack(Protocol):
    """Recurrent layers that can be run a chunk at a time."""

    def chunk(
        self, x: Tensor, lengths: Tensor, frames: int, states: States | None = None
    ) -> tuple[Tensor, States]:
        """Map a chunk of ``frames`` and its look-ahead ``x (B, T, I)``, and carry the states on."""
        ...


def run_chunks(
    stack: ChunkedStack, x: Tensor, lengths: Tensor, chunking: Chunking, reduction: int = 1
) -> Tensor:
    """Map whole sequences ``x (B, T, I)`` with ``lengths (B,)`` to ``(B, T', D * R)`` by chunks.

    ``reduction`` frames of ``x`` become one; T' is T / ``reduction``, rounded up.
    """
    step, ahead = chunking.frames * reduction, chunking.look_ahead * reduction
    outputs, states = [], None
    for start in range(0, max(1, x.shape[1]), step):
        block = x[:, start : start + step + ahead]
        left = (lengths - start).clamp(min=0, max=block.shape[1])
        y, states = stack.chunk(block, left, step, states)
        outputs.append(y[:, : chunking.frames])
    return torch.cat(outputs, dim=1)


def by_stream(function: Callable[[Tensor], Tensor], x: Tensor, dim: int = 0) -> Tensor:
    """``function`` of ``x``, whose dimension ``dim`` is the streams.

    Where nothing is learned, of each stream alone: how a product rounds depends on how many rows
    are computed together, and no stream must change the bits of another.
    """
    if torch.is_grad_enabled():
        return function(x)
    return torch.cat([function(alone(one)) for one in torch.split(x, 1, dim)], dim)


def alone(x: Tensor) -> Tensor:
    """``x`` in memory of its own: how a product rounds depends on strides and alignment too."""
    return x.clone(memory_format=torch.contiguous_format)
