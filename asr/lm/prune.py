"""Leave out the n-grams that a model hardly needs.

Stolcke, "Entropy-based pruning of backoff language models" (DARPA Broadcast News Transcription and
Understanding Workshop, 1998), as SRILM's ``ngram -prune`` does it: an n-gram goes where the model
without it foresees the model's own text almost as well. P(h) is how often the words h stand before
others. Smoothing by Kneser-Ney makes lower orders say something else, so counts of the text give
better choices than the model's own P(h) (Chelba, Brants, Neveitt & Xu, "Study on interaction
between entropy pruning and Kneser-Ney smoothing", Interspeech 2010).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled
from asr.lm.model import LanguageModel
from asr.lm.ngrams import Ngrams, NgramTable
from asr.lm.trie import ROOT, Trie, find_parents, order_bounds, step
from asr.types import ConfigError

__all__ = ["check_threshold", "prune"]

Floats = NDArray[np.float64]
LEAST = 1e-6  # of a mass left over: less is rounding of float32


def check_threshold(threshold: float) -> None:
    """Raise ConfigError unless ``threshold`` can be one."""
    if not 0 <= threshold < math.inf:
        raise ConfigError(
            f"the pruning threshold is {threshold}", remedy="give a number from 0, such as 1e-8"
        )


def prune(
    ngrams: Ngrams, threshold: float, occurrences: Sequence[NDArray[np.int64]] | None = None
) -> Ngrams:
    """Leave out n-grams without which perplexity rises by less than a part ``threshold``.

    What is left keeps its probability; backoffs are computed anew, so that probabilities still sum
    to 1. Words stay, and so does what longer n-grams that stay begin with. Orders are pruned from
    the longest down; within one, each n-gram is judged as if it went alone.

    Args:
        occurrences: for each order ``(n,)`` how often the text has each n-gram of the
            table. None: P(h) is the model's own, as in SRILM.

    Raises:
        ConfigError: the threshold is negative or not finite.
        LanguageModelError: ``ngrams`` is no model; see :class:`asr.lm.model.LanguageModel`.
    """
    check_threshold(threshold)
    model = LanguageModel(ngrams)
    histories = (
        _own_histories(model) if occurrences is None else _counted(model, ngrams, occurrences)
    )
    kept = _chosen(model, histories, threshold)
    return _renormalised(_without(model, kept))


def _parents(trie: Trie, begin: int, end: int) -> NDArray[np.int64]:
    """The parents, in sequence, of all children of nodes ``begin`` to ``end``."""
    return np.repeat(np.arange(begin, end), np.diff(trie.children[begin : end + 1]))


def _own_histories(model: LanguageModel) -> Floats:
    """P(h) of each context, ``(C,)``, by the model. Sentences begin as often as they end."""
    trie = model.trie
    P = np.ones(len(trie.backoffs))
    bounds = order_bounds(trie, model.order)
    for begin, end, after in zip(bounds, bounds[1:], bounds[2:-1], strict=False):
        P[end:after] = P[_parents(trie, begin, end)] * 10.0 ** trie.log_probs[end:after]
        if begin == ROOT:
            P[1 + model.begin] = 10.0 ** trie.log_probs[1 + model.end]
    return P


def _counted(
    model: LanguageModel, ngrams: Ngrams, occurrences: Sequence[NDArray[np.int64]]
) -> Floats:
    """P(h) of each context, ``(C,)``, as parts of all places where something follows."""
    P = np.ones(len(model.trie.backoffs))
    words = occurrences[0]
    total = words.sum() - words[model.begin]
    for table, counts in zip(ngrams.tables[:-1], occurrences, strict=False):
        P[_find_nodes(model.trie, table.words)] = counts / total
    return P


def _find_nodes(trie: Trie, ngrams: NDArray[np.int32]) -> NDArray[np.int32]:
    """The nodes of ``ngrams (n, k)``, each of which the tree has."""
    ends = np.zeros((len(ngrams), 1), dtype=np.int32)
    return find_parents(trie, np.hstack([ngrams, ends]))


def _chosen(model: LanguageModel, histories: Floats, threshold: float) -> NDArray[np.bool_]:
    """Which nodes stay, ``(M,)``."""
    trie = model.trie
    bounds = order_bounds(trie, model.order)
    kept = np.ones(len(trie.words), dtype=np.bool_)
    for k in range(model.order, 1, -1):
        contexts, nodes = slice(bounds[k - 1], bounds[k]), slice(bounds[k], bounds[k + 1])
        parents = _parents(trie, contexts.start, contexts.stop)
        rise = _rise(trie, contexts, nodes, parents, histories[contexts])
        stays = rise >= threshold
        if k < model.order:
            longer = slice(bounds[k + 1], bounds[k + 2])
            needed = _parents(trie, nodes.start, nodes.stop)[kept[longer]]
            stays[needed - nodes.start] = True
        kept[nodes] = stays
    return kept


def _rise(
    trie: Trie, contexts: slice, nodes: slice, parents: NDArray[np.int64], P_h: Floats
) -> Floats:
    """By what part perplexity rises where each n-gram is left out alone, ``(n,)``.

    Stolcke's equations 4 to 6. p is p(w|h), q is p(w|h'), where h' is h without its oldest word.
    """
    p = 10.0 ** trie.log_probs[nodes].astype(np.float64)
    q = 10.0 ** _shorter_log_probs(trie, parents, trie.words[nodes])
    row = parents - contexts.start
    size = contexts.stop - contexts.start
    # The backoff is numerator / denominator: what is left of p and of q where h has no n-gram.
    denominator = np.maximum(1.0 - np.bincount(row, q, size), LEAST)
    alpha = 10.0 ** trie.backoffs[contexts].astype(np.float64)
    numerator = alpha * denominator
    changed = (numerator[row] + p) / (denominator[row] + q)
    lost = p * (_log(q) + _log(changed) - _log(p))
    lost += numerator[row] * (_log(changed) - _log(alpha[row]))
    rise: Floats = np.expm1(-P_h[row] * lost)
    return rise


def _log(values: Floats) -> Floats:
    """Finite also of a probability that is too small to be told from 0."""
    logs: Floats = np.log(np.maximum(values, np.finfo(np.float64).tiny))
    return logs


@compiled
def _shorter_log_probs(
    trie: Trie, parents: NDArray[np.int64], words: NDArray[np.int32]
) -> NDArray[np.float64]:
    """log10 p(w|h') of each word after its parent's words without the oldest, ``(n,)``."""
    scores = np.empty(len(words), dtype=np.float64)
    for row in range(len(words)):
        scores[row] = step(trie, trie.links[parents[row]], words[row])[0]
    return scores


def _without(model: LanguageModel, kept: NDArray[np.bool_]) -> Ngrams:
    """The n-grams that stay. Contexts that nothing follows any more have no backoff."""
    bounds = order_bounds(model.trie, model.order)
    followed = np.zeros(len(kept), dtype=np.bool_)
    for begin, end, after in zip(bounds, bounds[1:], bounds[2:], strict=False):
        followed[_parents(model.trie, begin, end)[kept[end:after]]] = True
    tables = []
    for k, table in enumerate(model.ngrams().tables, start=1):
        rows = kept[bounds[k] : bounds[k + 1]]
        backoffs = np.where(followed[bounds[k] : bounds[k + 1]], table.backoffs, np.float32(0))
        tables.append(NgramTable(table.words[rows], table.log_probs[rows], backoffs[rows]))
    return Ngrams(model.vocabulary, tuple(tables))


def _renormalised(ngrams: Ngrams) -> Ngrams:
    """The same n-grams with backoffs that make probabilities after each context sum to 1."""
    model = LanguageModel(ngrams)
    trie = model.trie
    bounds = order_bounds(trie, model.order)
    # From the shortest contexts on: p(w|h') of longer ones needs the backoffs of shorter ones.
    for k in range(2, model.order + 1):
        begin, end, after = bounds[k - 1 : k + 2]
        parents = _parents(trie, begin, end)
        p = 10.0 ** trie.log_probs[end:after].astype(np.float64)
        q = 10.0 ** _shorter_log_probs(trie, parents, trie.words[end:after])
        left = 1.0 - np.bincount(parents - begin, p, end - begin)
        free = 1.0 - np.bincount(parents - begin, q, end - begin)
        # Where all words follow, there is nothing to back off to, and rounding would decide.
        fan = np.diff(trie.children[begin : end + 1])
        sure = (fan > 0) & (left > LEAST) & (free > LEAST)
        trie.backoffs[begin:end][sure] = np.log10(left[sure] / free[sure])
    return model.ngrams()
