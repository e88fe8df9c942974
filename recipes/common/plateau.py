"""The plateau on which CTC training begins, and which it may not leave: nothing but blanks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.tokens import BLANK_ID

__all__ = ["AllBlankDetector"]


@dataclass
class AllBlankDetector:
    """Notices a model that emits only blanks over a whole pass of evaluation.

    Every CTC training begins with such a plateau (blanks alone are the cheapest first answer);
    one that lasts beyond ``patience`` passes will not end by itself.
    """

    patience: int = 5
    passes: int = 0
    _labels: int = 0
    _frames: int = 0

    def update(self, log_probs: Tensor, lengths: Tensor) -> None:
        """Count the non-blank best-path frames of ``log_probs (B, T, V)`` within ``lengths``."""
        best = log_probs.argmax(dim=-1)  # (B, T)
        valid = torch.arange(best.shape[1], device=best.device) < lengths.unsqueeze(1)
        self._labels += int(((best != BLANK_ID) & valid).sum())
        self._frames += int(valid.sum())

    def finish_pass(
        self, over_processes: Callable[[Sequence[float]], Sequence[float]] = lambda counts: counts
    ) -> str | None:
        """End a pass; return an explanation when the plateau has lasted too long, else ``None``.

        ``over_processes`` sums counts over the processes that share the pass.
        """
        labels, frames = over_processes([self._labels, self._frames])
        blank_only = frames > 0 and labels == 0
        self._labels = self._frames = 0
        self.passes = self.passes + 1 if blank_only else 0
        if self.passes < self.patience:
            return None
        return (
            f"the model has emitted nothing but blanks for {self.passes} passes over the "
            "development data. CTC training starts on this plateau, but should have left it by "
            "now. Try in this order: a learning rate 3-10 times higher or lower; fewer stacked "
            "frames; shorter utterances first; normalised features; more data or epochs."
        )
