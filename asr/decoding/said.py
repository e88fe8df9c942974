"""What a stream has decided: tokens that are said for good, and the text that they spell."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr.decoding.spans import Span
from asr.tokens import Tokenizer

__all__ = ["SaidTokens", "StableText"]


class SaidTokens:
    """Tokens that are said for good, with their spans in frames and the confidence in each.

    They take 32 bytes a token: they are all that a stream keeps for as long as it goes on.
    """

    def __init__(self) -> None:
        self.ids = array("q")
        self.starts = array("q")
        self.ends = array("q")
        self.log_confidences = array("d")

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, spans: Sequence[Span] | NDArray[np.int64], logs: Sequence[float]) -> None:
        """Add tokens with these ``spans (S, 3)`` and logarithms of confidence behind the others."""
        ids, starts, ends = np.array(spans, dtype=np.int64).reshape(-1, 3).T
        self.ids.frombytes(ids.tobytes())
        self.starts.frombytes(starts.tobytes())
        self.ends.frombytes(ends.tobytes())
        self.log_confidences.extend(logs)

    def spans(self, first: int = 0) -> list[Span]:
        """Those of all tokens, where ``first`` is the number of the first frame."""
        columns = zip(self.ids, self.starts, self.ends, strict=True)
        if not first:
            return list(columns)
        return [(k, first + start, first + end) for k, start, end in columns]


class StableText:
    """The text of whole words that never change again, each of which is spelled once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        separated = tokenizer.word_separator is not None
        self._has_words = separated  # else each token stands for itself
        self._joint = " " if separated or tokenizer.kind == "phones" else ""
        self.text = ""
        self.tokens = 0  # that it spells
        self.words = 0  # that it has, or tokens where there are no words

    def extend(self, fresh: Sequence[int], shared: int) -> str:
        """Take in whole words; return the text of all tokens, be they stable or not.

        ``fresh`` are the tokens behind those of the stable text, of which the first ``shared`` are
        never going to change.
        """
        end = self._whole_words(fresh[:shared])
        own, rest = self._spell(fresh[:end]), self._spell(fresh[end:])
        self.text = self._joint.join(filter(None, (self.text, own)))
        self.tokens += end
        self.words += len(own.split()) if self._joint else 0
        return self._joint.join(filter(None, (self.text, rest)))

    def _spell(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids).strip(" ")

    def _whole_words(self, ids: Sequence[int]) -> int:
        """How many of ``ids`` stand before the last word that began: it may go on."""
        if not self._has_words:
            return len(ids)
        separator, starts_word = self._tokenizer.word_separator, self._tokenizer.starts_word
        for number in range(len(ids) - 1, -1, -1):
            if ids[number] == separator or starts_word(ids[number]):
                return number
        return 0
