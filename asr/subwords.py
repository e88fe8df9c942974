"""Words as sequences of subwords, by a unigram language model of these (Kudo 2018).

Of all ways to spell a word, the most probable is taken: the sum of its subwords' log-probabilities
is highest. The first subword of a word begins with a mark for the space before it, as the package
sentencepiece writes it: ``▁the``, ``▁c at s``. The segmentations are sentencepiece's as well; only
the training of subwords needs that package.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["MARK", "Segmenter", "text_of"]

MARK = "▁"  # U+2581, before the first character of a word
UNKNOWN_PENALTY = 10.0  # below the least probable subword, as in sentencepiece


class Segmenter:
    """Spells words with the subwords whose log-probabilities are ``scores``."""

    def __init__(self, scores: Mapping[str, float]) -> None:
        self._scores = dict(scores)
        self._longest = max(map(len, self._scores))
        self._unknown = min(self._scores.values()) - UNKNOWN_PENALTY

    def segment(self, word: str) -> list[str]:
        """The subwords of ``word``, which has no mark; a character in none stands for itself.

        >>> scores = {"▁": -9.0, "▁cat": -3.0, "▁c": -4.0, "at": -4.0, "s": -2.0, "ts": -5.0}
        >>> Segmenter(scores).segment("cats")
        ['▁cat', 's']
        """
        text = MARK + word
        best = [0.0] + [-math.inf] * len(text)  # of the ways to spell the first n characters
        starts = [0] * (len(text) + 1)  # where the last subword of the best way begins
        for start in range(len(text)):
            for end in range(start + 1, min(start + self._longest, len(text)) + 1):
                default = self._unknown if end == start + 1 else -math.inf
                score = best[start] + self._scores.get(text[start:end], default)
                if score > best[end]:
                    best[end], starts[end] = score, start
        pieces, end = [], len(text)
        while end:
            pieces.append(text[starts[end] : end])
            end = starts[end]
        return pieces[::-1]


def text_of(pieces: str) -> str:
    """The text that joined subwords spell: a mark is a space, and words have one between them."""
    return " ".join(pieces.replace(MARK, " ").split())
