"""How often each n-gram stands in a text."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.lm.ngrams import BEGIN, END, UNKNOWN

__all__ = ["BEGIN_ID", "END_ID", "SPECIALS", "UNKNOWN_ID", "Counts", "NumberedText"]

UNKNOWN_ID, BEGIN_ID, END_ID = range(3)
SPECIALS = 3  # words that no text has


@dataclass(frozen=True)
class Counts:
    """The n-grams of one order, n of them, sorted by their last word, then the one before, and on.

    An n-gram is its first word before an n-gram of the order below; those of order 1 stand before
    and after the one n-gram of order 0.

    Attributes:
        first: ``(n,)`` the first word.
        suffix: ``(n,)`` which of the order below it is without its first word.
        context: ``(n,)`` which of the order below it is without its last word.
        occurrences: ``(n,)`` how often the text has it.
    """

    first: NDArray[np.int32]
    suffix: NDArray[np.int32]
    context: NDArray[np.int32]
    occurrences: NDArray[np.int64]


class _Numbers(dict[bytes, int]):
    """Numbers for words, in the sequence in which they are first asked for."""

    def __missing__(self, word: bytes) -> int:
        self[word] = number = len(self)
        return number


@dataclass(frozen=True)
class NumberedText:
    """Sentences as numbers: ``ids`` int32 has ``<s>``, words and ``</s>`` of one after another."""

    vocabulary: tuple[bytes, ...]
    ids: NDArray[np.int32]

    @classmethod
    def of(cls, sentences: Iterable[Sequence[bytes]]) -> NumberedText:
        """Read the text once; 4 bytes a word are kept."""
        numbers = _Numbers()
        for number, mark in enumerate((UNKNOWN, BEGIN, END)):
            numbers[mark.encode()] = number
        ids = array("i")
        for sentence in sentences:
            ids.append(BEGIN_ID)
            ids.extend(map(numbers.__getitem__, sentence))
            ids.append(END_ID)
        return cls(tuple(numbers), np.frombuffer(ids, dtype=np.int32))

    def count(self, order: int) -> list[Counts]:
        """Counts of all orders from 1 to ``order``; an n-gram may begin with ``<s>``, not have it
        elsewhere."""
        ids, size = self.ids, len(self.vocabulary)
        zeros = np.zeros(size, dtype=np.int32)
        words = np.arange(size, dtype=np.int32)
        found = [Counts(words, zeros, zeros, np.bincount(ids, minlength=size))]
        ends = np.arange(len(ids))  # where n-grams of the order end in the text
        grams = ids  # by the place where they end: which n-gram of the order it is
        for k in range(2, order + 1):
            ends = ends[ids[ends - (k - 2)] != BEGIN_ID]
            counts, of_end = _count(grams[ends], grams[ends - 1], ids[ends - (k - 1)], size)
            grams = np.empty_like(grams)
            grams[ends] = of_end
            found.append(counts)
        return found


def _count(
    suffix: NDArray[np.int32], context: NDArray[np.int32], first: NDArray[np.int32], size: int
) -> tuple[Counts, NDArray[np.int32]]:
    """Counts of n-grams that are given once for each occurrence, and which of them each was."""
    keys = suffix.astype(np.int64) * size + first
    order = np.argsort(keys)
    keys = keys[order]
    new = np.ones(len(keys), dtype=bool)
    new[1:] = keys[1:] != keys[:-1]
    ranks = np.empty(len(keys), dtype=np.int32)
    ranks[order] = np.cumsum(new, dtype=np.int32) - np.int32(1)
    at = order[new]
    counts = Counts(
        first=first[at],
        suffix=suffix[at],
        context=context[at],
        occurrences=np.diff(np.flatnonzero(new), append=len(keys)),
    )
    return counts, ranks
