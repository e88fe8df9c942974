"""A batch searched by as many threads as there are processors, and torch has."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.decoding.inputs import checked
from asr.types import DecodingError, Hypothesis

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["decode_all"]


def decode_all(
    decode_one: Callable[[NDArray[np.float32]], list[Hypothesis]],
    log_probs: Tensor,
    lengths: Tensor,
    vocab_size: int,
) -> list[list[Hypothesis]]:
    """What ``decode_one`` finds in each utterance ``(T_b, V)`` of ``log_probs (B, T, V)``.

    Raises:
        DecodingError: see :func:`asr.decoding.inputs.checked`; or it finds nothing in one.
    """
    utterances = checked(log_probs, lengths, vocab_size)

    def decode(number: int) -> list[Hypothesis]:
        found = decode_one(utterances[number])
        if not found:
            raise DecodingError(
                f"in utterance {number} of the batch no words of the lexicon are possible",
                remedy="set unk_score, or check that lexicon and model belong together",
            )
        return found

    import torch  # whose tensors these are

    threads = min(len(utterances), _count_processors(), torch.get_num_threads())
    if threads < 2:
        return [decode(number) for number in range(len(utterances))]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(decode, range(len(utterances))))


def _count_processors() -> int:
    try:
        return len(os.sched_getaffinity(0))  # those this process may use
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
