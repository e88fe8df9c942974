"""Connectionist temporal classification: the loss, and what must hold before it can work.

Graves, Fernández, Gomez & Schmidhuber, "Connectionist temporal classification" (2006). The loss
itself is torch's; around it stand the checks whose absence costs users most: targets that no path
can spell, losses that are not finite, and models that emit nothing but blanks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.tokens import BLANK_ID, min_frames
from asr.types import AlignmentError, TrainingError

__all__ = [
    "AllBlankDetector",
    "CTCLoss",
    "Preflight",
    "preflight",
]


class CTCLoss(nn.Module):
    """-ln p(labelling | features), mean over the batch, per label (Graves et al. 2006, eq. 8).

    Each utterance's loss is divided by its label length before the mean, so that no utterance
    weighs by its length alone.
    """

    def forward(
        self,
        log_probs: Tensor,
        lengths: Tensor,
        targets: Tensor,
        target_lengths: Tensor,
        ids: Sequence[str] | None = None,
    ) -> Tensor:
        """Return a float32 scalar.

        Args:
            log_probs: ``(B, T, V)``, normalised over V.
            lengths: valid frames ``(B,)``.
            targets: label ids ``(B, S)``, padded with anything.
            target_lengths: ``(B,)``.
            ids: names of the utterances, for error messages.

        Raises:
            TrainingError: a loss is NaN or infinite; the message names the utterances.
        """
        losses = F.ctc_loss(
            log_probs.float().transpose(0, 1),  # (T, B, V)
            targets,
            lengths,
            target_lengths,
            blank=BLANK_ID,
            reduction="none",
        )  # (B,)
        finite = torch.isfinite(losses)
        if not bool(finite.all()):
            bad = [b for b, ok in enumerate(finite.tolist()) if not ok]
            names = [ids[b] if ids is not None else f"batch item {b}" for b in bad]
            values = ", ".join(
                f"{name}: {losses[b].item()}" for name, b in zip(names[:5], bad, strict=False)
            )
            raise TrainingError(
                f"the CTC loss is not finite for {len(bad)} of {len(losses)} utterances ({values})",
                remedy="infinite: the utterance has too few frames for its text, see the "
                "pre-flight; NaN: weights or features are broken, lower the learning rate or "
                "look at that utterance's audio",
            )
        return (losses / target_lengths.clamp(min=1)).mean()


@dataclass(frozen=True)
class Preflight:
    """Which utterances of a manifest CTC can learn from, and which not and why, by id."""

    usable: tuple[str, ...]
    too_short: tuple[str, ...] = field(default=())
    empty: tuple[str, ...] = field(default=())
    unknown: tuple[str, ...] = field(default=())
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def rejected(self) -> tuple[str, ...]:
        """Ids of all unusable utterances."""
        return self.too_short + self.empty + self.unknown

    def report(self, limit: int = 10) -> str:
        """Lines for a terminal: counts, then the first ``limit`` rejected utterances by id."""
        total = len(self.usable) + len(self.rejected)
        lines = [
            f"{len(self.usable)} of {total} utterances can be trained on "
            f"({len(self.too_short)} too short for their text, {len(self.empty)} without text, "
            f"{len(self.unknown)} with unknown symbols)"
        ]
        lines += [f"  {name}: {self.reasons[name]}" for name in self.rejected[:limit]]
        if len(self.rejected) > limit:
            lines.append(f"  … and {len(self.rejected) - limit} more")
        return "\n".join(lines)

    def require_any(self) -> None:
        """Raise :class:`AlignmentError` when nothing is left to train on."""
        if not self.usable:
            raise AlignmentError(
                f"no utterance can be trained on\n{self.report()}",
                remedy="check the texts, the token list and the frame rate (stack, subsample)",
            )


def preflight(
    items: Iterable[tuple[str, int, Sequence[int] | None, Sequence[str]]],
) -> Preflight:
    """Sort utterances into usable and unusable before any training.

    Args:
        items: ``(id, frames, labels, unknown)`` each: frames after stacking and subsampling, label
            ids (``None`` where the text has unknown symbols), and those symbols.
    """
    groups: dict[str, list[str]] = {"usable": [], "too_short": [], "empty": [], "unknown": []}
    reasons: dict[str, str] = {}
    for name, frames, labels, unknown in items:
        if unknown or labels is None:
            groups["unknown"].append(name)
            reasons[name] = f"unknown symbols {', '.join(map(repr, unknown))}"
        elif not labels:
            groups["empty"].append(name)
            reasons[name] = "empty text"
        elif frames < min_frames(labels):
            groups["too_short"].append(name)
            repeats = min_frames(labels) - len(labels)
            reasons[name] = (
                f"{frames} frames for {len(labels)} labels and {repeats} repeats, "
                f"{min_frames(labels)} needed"
            )
        else:
            groups["usable"].append(name)
    return Preflight(**{key: tuple(names) for key, names in groups.items()}, reasons=reasons)


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
        self, over_processes: Callable[[list[int]], list[int]] = lambda counts: counts
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
