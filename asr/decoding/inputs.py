"""What every decoder checks before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.types import DecodingError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["check_piece", "check_possible", "checked", "fitting_lengths", "piece_frames"]


def checked(log_probs: Tensor, lengths: Tensor, vocab_size: int) -> list[NDArray[np.float32]]:
    """Split ``log_probs (B, T, V)`` into utterances of their own lengths, each ``(T_b, V)``.

    Raises:
        DecodingError: shapes or lengths do not fit, or an utterance has a NaN, an infinity above
            zero, or a frame in which no token is possible.
    """
    counts = fitting_lengths(log_probs, lengths, vocab_size)
    values = log_probs.detach().float().cpu().numpy()
    utterances = [values[b, :count] for b, count in enumerate(counts)]
    for b, frames in enumerate(utterances):
        check_possible(frames.max(axis=1), f"utterance {b} of the batch")
    return utterances


def fitting_lengths(log_probs: Tensor, lengths: Tensor, vocab_size: int) -> list[int]:
    """The lengths of ``log_probs (B, T, V)``, one an utterance, known to fit.

    Raises:
        DecodingError: shapes or lengths do not fit.
    """
    if log_probs.dim() != 3 or log_probs.shape[2] != vocab_size:
        raise DecodingError(
            f"log-probabilities have shape {tuple(log_probs.shape)}",
            remedy=f"give (B, T, {vocab_size}), as many tokens as the vocabulary has",
        )
    counts: list[int] = lengths.tolist()
    if len(counts) != log_probs.shape[0] or any(
        not (isinstance(count, int) and 0 <= count <= log_probs.shape[1]) for count in counts
    ):
        raise DecodingError(
            f"lengths {counts} do not fit log-probabilities of shape {tuple(log_probs.shape)}",
            remedy="give one whole number from 0 to T for each utterance",
        )
    return counts


def piece_frames(log_probs: Tensor, vocab_size: int, before: int) -> NDArray[np.float32]:
    """The frames ``(T, V)`` of a stream's piece, ``before`` frames having come before.

    Raises:
        DecodingError: as :func:`checked` does.
    """
    check_piece(log_probs, vocab_size)
    frames = log_probs.detach().float().cpu().numpy()
    check_possible(frames.max(axis=1), "the stream", before)
    return frames


def check_piece(log_probs: Tensor, vocab_size: int) -> None:
    """Check the shape of a stream's piece.

    Raises:
        DecodingError: it is not ``(T, V)``.
    """
    if log_probs.dim() != 2 or log_probs.shape[1] != vocab_size:
        raise DecodingError(
            f"a piece of log-probabilities has shape {tuple(log_probs.shape)}",
            remedy=f"give (T, {vocab_size}), as many tokens as the vocabulary has",
        )


def check_possible(best: NDArray[np.float32], where: str, before: int = 0) -> None:
    """Check the highest log-probability of each frame, ``(T,)``; a maximum passes NaN on.

    ``where`` and the number of frames ``before`` are for the message.

    Raises:
        DecodingError: a value is NaN or infinite.
    """
    broken = ~np.isfinite(best)
    if broken.any():
        raise DecodingError(
            f"log-probabilities of {where} are not numbers, or leave no token possible, at frame "
            f"{before + int(broken.argmax())}",
            remedy="the model's weights or this utterance's audio are broken",
        )
