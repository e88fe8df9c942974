"""What an ARPA file holds, as arrays: the form between estimating, files and queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BEGIN",
    "COMPACT",
    "END",
    "MOST_ORDERS",
    "OTHER_UNKNOWN",
    "UNKNOWN",
    "NgramTable",
    "Ngrams",
]

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
OTHER_UNKNOWN = "<UNK>"  # some tools write it so; the same word, as in KenLM
MOST_ORDERS = 32  # that are read: memory is lines times orders
COMPACT = ".compact"  # what names of files end in that have the form of asr.lm.compact


@dataclass(frozen=True)
class NgramTable:
    """All n-grams of one order k, in any sequence; n of them.

    Attributes:
        words: ``(n, k)`` int32, positions in the vocabulary, the oldest word first.
        log_probs: ``(n,)`` float32, log10 of the last word's probability after the others.
        backoffs: ``(n,)`` float32, log10 of what lower orders are weighted by after these words.
        first_line: number of the line of the first one if they stand in a file in this sequence.
    """

    words: NDArray[np.int32]
    log_probs: NDArray[np.float32]
    backoffs: NDArray[np.float32]
    first_line: int | None = None


@dataclass(frozen=True)
class Ngrams:
    """A backoff model as a list of n-grams.

    ``tables[k - 1]`` has the n-grams of order k; those of order 1 are the vocabulary, in sequence.
    ``source`` is the file they were read from, for messages.
    """

    vocabulary: tuple[str, ...]
    tables: tuple[NgramTable, ...]
    source: str | None = None

    @property
    def order(self) -> int:
        """The longest n-grams' length."""
        return len(self.tables)
