"""The priors of a network's tokens, taken from the development passes of its training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from asr.decoding.priors import Priors, sum_of_probabilities

__all__ = ["LOG_PRIORS", "PriorSums", "priors_of"]

LOG_PRIORS = "log_priors"  # among the plain values of a checkpoint


class PriorSums:
    """Sums the probabilities of ``size`` tokens over a pass."""

    def __init__(self, size: int) -> None:
        self.sums = torch.zeros(size, dtype=torch.float64)
        self.frames = 0

    def update(self, log_probs: Tensor, lengths: Tensor) -> None:
        """Count the frames of ``log_probs (B, T, V)`` within ``lengths``."""
        self.sums += sum_of_probabilities(log_probs, lengths).cpu()
        self.frames += int(lengths.sum())

    def finish_pass(
        self, over_processes: Callable[[Sequence[float]], Sequence[float]] = lambda sums: sums
    ) -> Priors | None:
        """End a pass; None where it had no frames, or the network gives what is no number.

        ``over_processes`` adds up the numbers of all processes that share the pass.
        """
        frames, *sums = over_processes([float(self.frames), *self.sums.tolist()])
        self.sums, self.frames = torch.zeros_like(self.sums), 0
        if not frames or not all(map(math.isfinite, sums)):
            return None
        return Priors.of_sums(torch.tensor(sums, dtype=torch.float64), frames)


def priors_of(plain: Mapping[str, Any]) -> Priors | None:
    """What the plain values of a checkpoint say of priors; early ones say nothing."""
    logs = plain.get(LOG_PRIORS)
    return None if logs is None else Priors(tuple(logs))
