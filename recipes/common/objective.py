"""What training minimises: how CTC losses of a batch become one, and what is added to them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from asr.nn.chunks import Chunking
from asr.types import ConfigError

__all__ = ["DualMode", "ObjectiveOptions"]


@dataclass(frozen=True)
class ObjectiveOptions:
    """The loss of a batch, and terms that regularise it; without them it is CTC alone.

    Attributes:
        normalisation: ``"per_label"``, ``"per_utterance"`` or ``"sum"`` (see
            :func:`asr.nn.ctc.reduce_losses`); the sum wants a lower learning rate.
        consistency: weight of the disagreement between two views of each utterance under masks of
            their own (Yao et al. 2024, "CR-CTC": 0.2). A step then costs twice as much. It needs
            ``spec_augment``, and more or wider time masks than otherwise (there 2.5 times as many).
        intermediate: recurrent layers, counted from 1, whose output is trained as well (Lee &
            Watanabe 2021).
        intermediate_weight: their share of the loss; the last layer has the rest.
    """

    normalisation: str = "per_label"
    consistency: float = 0.0
    intermediate: tuple[int, ...] = ()
    intermediate_weight: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "intermediate", tuple(self.intermediate))  # YAML has lists
        if not 0.0 <= self.consistency < math.inf:
            raise ConfigError(f"consistency is {self.consistency}", remedy="give 0 or more")
        if not 0.0 <= self.intermediate_weight < 1.0:
            raise ConfigError(
                f"intermediate_weight is {self.intermediate_weight}",
                remedy="give a number from 0 to below 1",
            )
        if len(set(self.intermediate)) != len(self.intermediate):
            raise ConfigError("a layer stands twice in intermediate", remedy="name each once")

    @property
    def views(self) -> int:
        """How often each utterance of a batch is seen, each time under masks of its own."""
        return 2 if self.consistency else 1


@dataclass(frozen=True)
class DualMode:
    """Trains one set of weights to read whole utterances and to read them by chunks.

    Each batch draws which of the two, then a chunk and a look-ahead from these ranges.

    Attributes:
        probability: share of the batches that are read by chunks.
        chunk_ms: shortest and longest chunk, in milliseconds.
        look_ahead_ms: shortest and longest look-ahead.
    """

    probability: float = 0.5
    chunk_ms: tuple[float, float] = (240.0, 960.0)
    look_ahead_ms: tuple[float, float] = (120.0, 960.0)

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            raise ConfigError(f"probability is {self.probability}", remedy="give 0 to 1")
        for name in ("chunk_ms", "look_ahead_ms"):
            low, high = getattr(self, name)
            object.__setattr__(self, name, (low, high))  # YAML has lists
            if not 0.0 <= low <= high < math.inf:
                raise ConfigError(
                    f"{name} is from {low} to {high}", remedy="give two lengths, the shorter first"
                )

    def draw(self, seconds_per_frame: float) -> Chunking | None:
        """The next batch's chunks, or None for whole utterances; from torch's generator."""
        which, chunk, ahead = torch.rand(3).tolist()
        if which >= self.probability:
            return None
        frames = [
            round((low + part * (high - low)) / 1000 / seconds_per_frame)
            for part, (low, high) in ((chunk, self.chunk_ms), (ahead, self.look_ahead_ms))
        ]
        return Chunking(max(1, frames[0]), frames[1])
