"""What training minimises beside the CTC loss of the last layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from asr.types import ConfigError

__all__ = ["ObjectiveOptions"]


@dataclass(frozen=True)
class ObjectiveOptions:
    """Terms that regularise CTC; without them it is CTC alone.

    Attributes:
        consistency: weight of the disagreement between two views of each utterance under masks of
            their own (Yao et al. 2024, "CR-CTC": 0.2). A step then costs twice as much. It needs
            ``spec_augment``, and more or wider time masks than otherwise (there 2.5 times as many).
        intermediate: recurrent layers, counted from 1, whose output is trained as well (Lee &
            Watanabe 2021).
        intermediate_weight: their share of the loss; the last layer has the rest.
    """

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
