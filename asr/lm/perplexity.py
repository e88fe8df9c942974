"""How well a language model foresees a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asr.lm.model import LanguageModel

__all__ = ["TextScore", "score_sentence"]


@dataclass(frozen=True)
class TextScore:
    """What a model makes of sentences; adds up over them.

    Attributes:
        sentences: how many; each has an end that is foreseen as a word is.
        words: how many, ends not counted.
        unknown: words outside the vocabulary.
        log_prob: log10 of the probability of all words and ends.
        unknown_log_prob: the part of it that is of unknown words.
    """

    sentences: int = 0
    words: int = 0
    unknown: int = 0
    log_prob: float = 0.0
    unknown_log_prob: float = 0.0

    @property
    def perplexity(self) -> float:
        """The inverse of the mean probability (geometric) of a word or end, unknown words too."""
        return _perplexity(self.log_prob, self.words + self.sentences)

    @property
    def known_perplexity(self) -> float:
        """The same without unknown words; they are still in the contexts of others."""
        log_prob = self.log_prob - self.unknown_log_prob
        return _perplexity(log_prob, self.words + self.sentences - self.unknown)

    @property
    def unknown_rate(self) -> float:
        """Unknown words as a part of all words."""
        return self.unknown / self.words if self.words else 0.0

    def __add__(self, other: TextScore) -> TextScore:
        return TextScore(
            self.sentences + other.sentences,
            self.words + other.words,
            self.unknown + other.unknown,
            self.log_prob + other.log_prob,
            self.unknown_log_prob + other.unknown_log_prob,
        )


def score_sentence(model: LanguageModel, words: Sequence[str]) -> TextScore:
    """Score one sentence with its end."""
    log_probs = model.score_sentence(words)
    unknown = model.ids(words) == model.unknown
    return TextScore(
        sentences=1,
        words=len(words),
        unknown=int(unknown.sum()),
        log_prob=float(log_probs.sum()),
        unknown_log_prob=float(log_probs[:-1][unknown].sum()),
    )


def _perplexity(log_prob: float, count: int) -> float:
    """1 for nothing at all, infinite beyond the numbers that there are."""
    exponent = -log_prob / count if count else 0.0
    return float("inf") if exponent > 308 else 10.0**exponent
