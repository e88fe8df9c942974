"""The loss of connectionist temporal classification.

Graves, Fernández, Gomez & Schmidhuber, "Connectionist temporal classification" (2006). The sum over
paths is torch's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.tokens import BLANK_ID
from asr.types import ConfigError, TrainingError

__all__ = ["NORMALISATIONS", "CTCLoss", "consistency_loss", "reduce_losses"]

NORMALISATIONS = ("per_label", "per_utterance", "sum")


def reduce_losses(losses: Tensor, target_lengths: Tensor, normalisation: str) -> Tensor:
    """One number for the losses of a batch, both ``(B,)``.

    ``"per_label"`` divides each utterance's loss by its label length before the mean, so that no
    utterance weighs by its length alone; ``"per_utterance"`` is the plain mean; ``"sum"`` adds
    the losses up, as Graves et al. (2006), eq. 8.
    """
    if normalisation == "sum":
        return losses.sum()
    if normalisation == "per_label":
        losses = losses / target_lengths.clamp(min=1)
    return losses.mean()


class CTCLoss(nn.Module):
    """-ln p(labelling | features) (Graves et al. 2006, eq. 8).

    Args:
        normalisation: how a batch's losses become one, see :func:`reduce_losses`. Where there are
            no labels frames are counted in their place.

    Raises:
        ConfigError: there is no such normalisation.
    """

    def __init__(self, normalisation: str = "per_label") -> None:
        super().__init__()
        if normalisation not in NORMALISATIONS:
            raise ConfigError(
                f"the loss's normalisation is {normalisation!r}",
                remedy=f"choose {', '.join(NORMALISATIONS)}",
            )
        self.normalisation = normalisation

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
            TrainingError: there is no utterance or no frame; a length goes beyond its tensor; a
                label is the blank or outside of the vocabulary; a loss is NaN or infinite. The
                message names the utterances.
        """
        self._check(log_probs, lengths, targets, target_lengths, ids)
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
            values = ", ".join(f"{_name(b, ids)}: {losses[b].item()}" for b in bad[:5])
            raise TrainingError(
                f"the CTC loss is not finite for {len(bad)} of {len(losses)} utterances ({values})",
                remedy="infinite: the utterance has too few frames for its text, see the "
                "pre-flight; NaN: weights or features are broken, lower the learning rate or "
                "look at that utterance's audio",
            )
        return reduce_losses(losses, _weights(lengths, target_lengths), self.normalisation)

    @staticmethod
    def _check(
        log_probs: Tensor,
        lengths: Tensor,
        targets: Tensor,
        target_lengths: Tensor,
        ids: Sequence[str] | None,
    ) -> None:
        """Refuse what torch's loss would read beyond: it looks labels up unchecked."""
        size, frames, vocab_size = log_probs.shape
        if not size * frames:
            raise TrainingError(
                f"a batch of {size} utterances and {frames} frames has no CTC loss",
                remedy="leave out utterances that are too short for one frame",
            )
        most = targets.shape[1]
        beyond = (target_lengths < 0) | (target_lengths > most) | (lengths < 0) | (lengths > frames)
        if bool(beyond.any()):
            b = int(beyond.nonzero()[0])
            raise TrainingError(
                f"{_name(b, ids)}: {lengths[b].item()} frames and {target_lengths[b].item()} "
                f"labels are said to be in tensors of {frames} and {most}",
                remedy="give lengths from 0 to the size of the batch's tensors",
            )
        is_label = torch.arange(targets.shape[1], device=targets.device) < target_lengths[:, None]
        wrong = is_label & ((targets <= BLANK_ID) | (targets >= vocab_size))  # (B, S)
        if bool(wrong.any()):
            b, s = wrong.nonzero()[0].tolist()
            raise TrainingError(
                f"{_name(b, ids)}: label {s} has the id {targets[b, s].item()}, where the model's "
                f"{vocab_size} outputs have labels 1 to {vocab_size - 1}",
                remedy="prepare the data with the tokens that the model has",
            )


def _name(index: int, ids: Sequence[str] | None) -> str:
    return f"batch item {index}" if ids is None else ids[index]


def _weights(lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """Labels of each utterance ``(B,)``, or its frames where it has none."""
    return torch.where(target_lengths > 0, target_lengths, lengths)


def consistency_loss(
    log_probs: Tensor, lengths: Tensor, target_lengths: Tensor, normalisation: str = "per_label"
) -> Tensor:
    """How far two views of the same utterances disagree, frame by frame.

    Yao et al., "CR-CTC: consistency regularization on CTC for improved speech recognition" (2024),
    section 3.1: half the sum over frames of the divergences of either distribution from the other,
    each of which is in turn a fixed target.

    Args:
        log_probs: ``(2 * B, T, V)``: the first views of B utterances, then the second ones.
        lengths: valid frames ``(2 * B,)``, the same in both views.
        target_lengths: labels of each utterance ``(2 * B,)``.
        normalisation: as of the CTC loss, see :func:`reduce_losses`.

    Returns:
        a float32 scalar, to be added to the CTC loss with the paper's weight of 0.2.
    """
    first, second = log_probs.float().chunk(2)  # (B, T, V)
    valid = torch.arange(first.shape[1], device=first.device) < lengths[: len(first), None]
    first = first.masked_fill(~valid[:, :, None], 0.0)
    second = second.masked_fill(~valid[:, :, None], 0.0)
    divergence = _divergence(first, second.detach()) + _divergence(second, first.detach())  # (B, T)
    losses = 0.5 * divergence.sum(dim=1)  # (B,)
    weights = _weights(lengths, target_lengths)[: len(first)]
    return reduce_losses(losses, weights, normalisation)


def _divergence(log_probs: Tensor, target: Tensor) -> Tensor:
    """Kullback-Leibler divergence of ``log_probs (B, T, V)`` from ``target``, ``(B, T)``."""
    return F.kl_div(log_probs, target, reduction="none", log_target=True).sum(dim=2)
