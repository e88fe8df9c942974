"""Interpolated modified Kneser-Ney smoothing, with the numbers of KenLM's ``lmplz``.

Chen & Goodman, "An empirical study of smoothing techniques for language modeling" (TR-10-98,
Harvard 1998), section 3; Heafield, Pouzyrevsky, Clark & Koehn, "Scalable modified Kneser-Ney
language model estimation" (ACL 2013), whose symbols are used: a(w) adjusted counts, t_j counts of
counts, D_j discounts, b(.) backoff.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asr.lm.counts import BEGIN_ID, SPECIALS, Counts, NumberedText
from asr.lm.ngrams import Ngrams, NgramTable
from asr.types import ConfigError, CorpusError

__all__ = ["FALLBACK", "KneserNeyConfig", "estimate"]

MAX_ORDER = 10
FALLBACK = (0.5, 1.0, 1.5)
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Masks = list[Mask]


@dataclass(frozen=True)
class KneserNeyConfig:
    """Options of estimation.

    Attributes:
        order: length of the longest n-grams.
        prune: for each order from 1, n-grams seen this often or less are left out; the last number
            serves the orders after it. They may not decrease, else an n-gram's end could be pruned
            and the n-gram stay.
        vocab_limit: keep this many of the commonest words; those seen first win ties.
        vocabulary: keep these words only. All others are unknown words, ``<unk>``, and n-grams
            with one of them are pruned.
        threshold: afterwards, leave out n-grams without which perplexity rises by less than this
            part; see :func:`asr.lm.prune.prune`. 1e-7 keeps a sixth and costs 3 % of perplexity.
        discount_fallback: discounts for n-grams seen once, twice and more often, for orders whose
            counts give none; without them such a text is refused.
    """

    order: int = 3
    prune: tuple[int, ...] = ()
    vocab_limit: int | None = None
    vocabulary: frozenset[str] | None = field(default=None, repr=False)
    threshold: float | None = None
    discount_fallback: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.order <= MAX_ORDER:
            raise ConfigError(f"the order is {self.order}", remedy=f"give 1 to {MAX_ORDER}")
        steps = (0, *self.prune)
        if len(self.prune) > self.order or list(steps) != sorted(steps):
            raise ConfigError(
                f"pruning is {' '.join(map(str, self.prune))}",
                remedy=f"give up to {self.order} numbers from 0, none lower than the one before",
            )
        if self.vocab_limit is not None and self.vocab_limit < 1:
            raise ConfigError(f"the vocabulary limit is {self.vocab_limit}", remedy="give 1 or up")
        if self.vocab_limit is not None and self.vocabulary is not None:
            raise ConfigError("both a vocabulary and a limit are given", remedy="give one of them")
        if self.threshold is not None:
            from asr.lm.prune import check_threshold  # which needs numba

            check_threshold(self.threshold)
        fallback = self.discount_fallback
        if fallback and not all(0 <= d <= j for j, d in enumerate(fallback, start=1)):
            raise ConfigError(
                f"the fallback discounts are {' '.join(f'{d:g}' for d in fallback)}",
                remedy="give discounts of counts 1, 2 and 3, none above its count",
            )

    def most_pruned(self, order: int) -> int:
        """Counts up to this one are pruned."""
        return self.prune[min(order, len(self.prune)) - 1] if self.prune else 0


def estimate(sentences: Iterable[Sequence[bytes]], config: KneserNeyConfig) -> Ngrams:
    """Estimate a model from sentences of words in UTF-8.

    The text is read once and kept as numbers, 4 bytes a word. Counting needs more, up to 150 bytes
    a word of text where most n-grams are seen once: ten million words fit into 1.5 GB.

    Words come in the sequence of the text, n-grams sorted by their last word, then the one before.

    Raises:
        CorpusError: there is no sentence, or the counts give no discounts and no fallback is set.
    """
    text = NumberedText.of(sentences)
    if not len(text.ids):
        raise CorpusError("the text is empty", remedy="give text with a sentence a line")
    orders = text.count(config.order)
    kept = _kept(text.vocabulary, orders, config)
    adjusted = _adjusted(orders)
    # b(.) and p of the order below; at first the uniform distribution, of which <s> has no part.
    lower: Floats = np.array([1.0 / (np.count_nonzero(kept[0]) - 1)])
    backoffs, probs = [], []
    for k, counts in enumerate(orders, start=1):
        stated = _counts_of_counts(orders, adjusted, k)
        discounts = _discounts(stated, k, config.discount_fallback)
        prob, backoff = _interpolated(counts, adjusted[k - 1], kept[k - 1], discounts, lower)
        if k == 1:
            prob[BEGIN_ID] = 1.0  # as lmplz has it; nothing ever asks how probable a beginning is
        probs.append(prob)
        backoffs.append(backoff)
        lower = prob
    backoffs.append(np.ones(len(lower)))
    words = [word.decode() for word, keep in zip(text.vocabulary, kept[0], strict=True) if keep]
    ngrams = Ngrams(tuple(words), _tables(orders, kept, probs, backoffs[1:]))
    if config.threshold is None:
        return ngrams
    from asr.lm.prune import prune  # which needs numba

    occurrences = [counts.occurrences[keep] for counts, keep in zip(orders, kept, strict=True)]
    return prune(ngrams, config.threshold, occurrences)


def _kept(vocabulary: Sequence[bytes], orders: Sequence[Counts], config: KneserNeyConfig) -> Masks:
    """Which n-grams of each order are not pruned."""
    words = orders[0].occurrences > config.most_pruned(1)
    if config.vocab_limit is not None:
        ranked = np.argsort(-orders[0].occurrences[SPECIALS:], kind="stable") + SPECIALS
        words[ranked[config.vocab_limit :]] = False
    if config.vocabulary is not None:
        words &= np.array([word.decode() in config.vocabulary for word in vocabulary])
    words[:SPECIALS] = True
    kept = [words]
    for k, counts in enumerate(orders[1:], start=2):
        kept.append(
            (counts.occurrences > config.most_pruned(k))
            & words[counts.first]
            & kept[-1][counts.suffix]
        )
    return kept


def _adjusted(orders: Sequence[Counts]) -> list[NDArray[np.int64]]:
    """a(w): of the highest order and of n-grams that begin with ``<s>`` how often they occur, else
    how many words they occur after (Heafield et al., section 3.2)."""
    adjusted = []
    for counts, above in pairwise(orders):
        lefts = np.bincount(above.suffix, minlength=len(counts.first))
        adjusted.append(np.where(counts.first == BEGIN_ID, counts.occurrences, lefts))
    adjusted.append(orders[-1].occurrences.copy())
    adjusted[0][BEGIN_ID] = 0
    return adjusted


def _counts_of_counts(
    orders: Sequence[Counts], adjusted: Sequence[NDArray[np.int64]], k: int
) -> NDArray[np.int64]:
    """t_0 to t_4: how many n-grams of order k have these adjusted counts, pruned ones too.

    lmplz reads n-grams in the sequence that they have here. The very last one, and in lower orders
    those that it ends with, it counts by occurrences; small texts show the difference.
    """
    values = adjusted[k - 1]
    last = _last(orders, k) if k < len(orders) else None
    if last is not None:
        values = values.copy()
        values[last] = orders[k - 1].occurrences[last]
    return np.bincount(np.minimum(values, 5), minlength=6)[:5]


def _last(orders: Sequence[Counts], k: int) -> int | None:
    """The n-gram of order k that the last one of the highest order ends with."""
    last = len(orders[0].first) - 1
    for counts in orders[1:k]:
        if not len(counts.suffix) or counts.suffix[-1] != last:
            return None  # it begins with <s> and is shorter
        last = len(counts.suffix) - 1
    return last


def _discounts(t: NDArray[np.int64], k: int, fallback: tuple[float, float, float] | None) -> Floats:
    """D_0 to D_3 of order k (Chen & Goodman, equation 26)."""
    reason = f"none occurs {int(np.argmin(t[1:4])) + 1} times (adjusted count)"
    if t[1:4].all():
        j = np.arange(1, 4)
        D = j - (j + 1) * (t[1] / (t[1] + 2 * t[2])) * t[2:5] / t[1:4]
        if (np.clip(D, 0, j) == D).all():
            return np.concatenate([[0.0], D])
        reason = f"their counts give {', '.join(f'{d:.3g}' for d in D)}"
    if fallback is None:
        raise CorpusError(
            f"no discounts for {k}-grams: {reason}",
            remedy="give more text, without sentences that were multiplied, or a lower order, "
            "or set the discounts with --discount-fallback",
        )
    return np.array([0.0, *fallback])


def _interpolated(
    counts: Counts, a: NDArray[np.int64], kept: Mask, discounts: Floats, lower: Floats
) -> tuple[Floats, Floats]:
    """p of each n-gram, ``(n,)``, and b of each context, 1 where nothing follows it.

    What discounts and pruning take goes to the order below (Heafield et al., sections 3.3, 3.4).
    """
    contexts = len(lower)
    D = discounts[np.minimum(a, 3)]
    taken = np.bincount(counts.context, np.where(kept, D, a), contexts)
    whole = np.bincount(counts.context, a, contexts)
    followed = whole > 0
    b = np.divide(taken, whole, out=np.ones(contexts), where=followed)
    u = (a - D) / np.where(followed, whole, 1.0)[counts.context]
    return u + b[counts.context] * lower[counts.suffix], b


def _tables(
    orders: Sequence[Counts], kept: Masks, probs: Sequence[Floats], backoffs: Sequence[Floats]
) -> tuple[NgramTable, ...]:
    """The n-grams that are kept, with words numbered among those that are kept."""
    numbers = np.cumsum(kept[0], dtype=np.int32) - np.int32(1)
    rows = np.zeros(1, dtype=np.int64)  # where n-grams of the order below went
    below: NDArray[np.int32] = np.empty((1, 0), dtype=np.int32)
    tables = []
    for counts, keep, prob, backoff in zip(orders, kept, probs, backoffs, strict=True):
        first = numbers[counts.first[keep]]
        below = np.column_stack([first, below[rows[counts.suffix[keep]]]])
        rows = np.cumsum(keep) - 1
        tables.append(NgramTable(below, _log10(prob[keep]), _log10(backoff[keep])))
    return tuple(tables)


def _log10(values: Floats) -> NDArray[np.float32]:
    """At most 0 against rounding; nothing is impossible, and ARPA files write -99 for it."""
    return np.log10(np.clip(values, 1e-99, 1.0)).astype(np.float32)
