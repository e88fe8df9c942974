"""A language model to ask: how probable is a word after others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from asr.lm.arpa import read_arpa
from asr.lm.compact import by_frequency, is_compact, read_compact, write_compact
from asr.lm.ngrams import BEGIN, END, UNKNOWN, Ngrams, NgramTable
from asr.lm.trie import ROOT, Trie, find_parents, link_nodes, order_bounds, score_ids, step
from asr.types import LanguageModelError

__all__ = ["LanguageModel", "read_ngrams"]

MISSING_LOG_PROB = -100.0  # of unknown words where a model says nothing of them, as in KenLM


class LanguageModel:
    """A backoff n-gram model (Katz 1987) of any order, in 12 to 20 bytes an n-gram.

    A state stands for the words before. Compiled code takes ``trie`` and calls
    :func:`asr.lm.trie.step` with numbers from :meth:`ids`; :meth:`score` is the same from
    Python. All probabilities are logarithms to the base 10, as in ARPA files.

    Args:
        ngrams: what an ARPA file holds, or what :func:`asr.lm.kneser_ney.estimate` gives.

    Attributes:
        vocabulary: words by number. ``<unk>`` is added where a model lacks it, with probability
            10^-100, as KenLM does.
        order: the longest n-grams' length.
        trie: the model's arrays.
        unknown, begin, end: numbers of ``<unk>``, ``<s>`` and ``</s>``.
        start: the state at the beginning of a sentence.
        rounded: its logarithms are those of a compact file.

    Raises:
        LanguageModelError: ``<s>`` or ``</s>`` is missing, an n-gram or a word stands twice, or an
            n-gram's context is missing.
    """

    def __init__(self, ngrams: Ngrams) -> None:
        ngrams = _with_unknown(ngrams)
        ids = _numbered(ngrams.vocabulary, ngrams.source)
        self._take(ngrams.vocabulary, ids, _build(ngrams), ngrams.order)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LanguageModel:
        """Read an ARPA file, packed or not, or what :meth:`save_compact` wrote.

        Raises:
            LanguageModelError: the file cannot be read or is no such model; the message has the
                number of the line.
        """
        if not is_compact(path):
            return cls(read_arpa(path))
        return cls.of_compact(*read_compact(path), os.fspath(path))

    @classmethod
    def of_compact(
        cls, vocabulary: tuple[str, ...], trie: Trie, order: int, source: str | None = None
    ) -> LanguageModel:
        """What :func:`asr.lm.compact.read_compact` gave, of the file ``source``.

        Raises:
            LanguageModelError: a word stands twice, or a mark is missing.
        """
        model = cls.__new__(cls)
        model._take(vocabulary, _numbered(vocabulary, source), trie, order)
        model.rounded = True
        return model

    def save_compact(self, path: str | os.PathLike[str]) -> None:
        """Write the model in little room, its logarithms rounded; see :mod:`asr.lm.compact`.

        Raises:
            OSError: the file cannot be written.
        """
        model = LanguageModel(by_frequency(self.ngrams()))
        write_compact(model.vocabulary, model.trie, model.order, path)

    def _take(
        self, vocabulary: tuple[str, ...], ids: dict[str, int], trie: Trie, order: int
    ) -> None:
        self.vocabulary, self.trie, self.order = vocabulary, trie, order
        self._ids = ids
        self.unknown, self.begin, self.end = (ids[mark] for mark in (UNKNOWN, BEGIN, END))
        self.rounded = False
        _, self.start = step(trie, ROOT, self.begin)

    def ids(self, words: Iterable[str]) -> NDArray[np.int32]:
        """Numbers of ``words``, ``(S,)``; that of ``<unk>`` for words outside the vocabulary."""
        return np.array([self._ids.get(word, self.unknown) for word in words], dtype=np.int32)

    def score(self, state: int, word: int) -> tuple[float, int]:
        """log10 of the probability of the word of that number in ``state``, and the state after.

        Raises:
            IndexError: there is no such state or word.
        """
        if not (0 <= word < len(self.vocabulary) and 0 <= state < len(self.trie.backoffs)):
            raise IndexError(f"no state {state}, or no word {word}")
        return step(self.trie, state, word)

    def score_sentence(self, words: Sequence[str]) -> NDArray[np.float64]:
        """log10 of the probability of each word after those before it and of the end, ``(S + 1,)``.

        The sum is that of the sentence.
        """
        return score_ids(self.trie, self.start, self.ids([*words, END]))

    def ngrams(self) -> Ngrams:
        """The model as a list, the inverse of the constructor, sorted by the numbers of words."""
        trie, tables = self.trie, []
        words: NDArray[np.int32] = np.empty((1, 0), dtype=np.int32)
        bounds = order_bounds(trie, self.order)
        for order in range(1, self.order + 1):
            begin, end = bounds[order : order + 2]
            fan = np.diff(trie.children[bounds[order - 1] : begin + 1])
            words = np.column_stack([np.repeat(words, fan, axis=0), trie.words[begin:end]])
            backoffs = trie.backoffs[begin:end] if order < self.order else np.zeros(end - begin)
            tables.append(
                NgramTable(words, trie.log_probs[begin:end].copy(), backoffs.astype(np.float32))
            )
        return Ngrams(self.vocabulary, tuple(tables))


def read_ngrams(path: str | os.PathLike[str]) -> Ngrams:
    """The n-grams of an ARPA file, packed or not, or of a compact one.

    Raises:
        LanguageModelError: the file cannot be read, or is neither.
    """
    return LanguageModel.load(path).ngrams() if is_compact(path) else read_arpa(path)


def _with_unknown(ngrams: Ngrams) -> Ngrams:
    if UNKNOWN in ngrams.vocabulary:
        return ngrams
    words = ngrams.tables[0]
    added = NgramTable(
        np.arange(len(words.words) + 1, dtype=np.int32)[:, None],
        np.append(words.log_probs, np.float32(MISSING_LOG_PROB)),
        np.append(words.backoffs, np.float32(0.0)),
        words.first_line,
    )
    return Ngrams((*ngrams.vocabulary, UNKNOWN), (added, *ngrams.tables[1:]), ngrams.source)


def _numbered(vocabulary: Sequence[str], source: str | None) -> dict[str, int]:
    """The number of each word; all marks have to be among them."""
    ids = {word: number for number, word in enumerate(vocabulary)}
    if len(ids) < len(vocabulary):
        raise LanguageModelError("a word stands twice among the 1-grams", where=source)
    for mark in (BEGIN, END, UNKNOWN):
        if mark not in ids:
            raise LanguageModelError(
                f"the model has no {mark}",
                where=source,
                remedy="make it from text with marks at the ends of sentences",
            )
    return ids


def _build(ngrams: Ngrams) -> Trie:
    """The tree, an order after another: those below have to be there to look contexts up."""
    size = 1 + sum(len(table.words) for table in ngrams.tables)
    contexts = size - len(ngrams.tables[-1].words)
    trie = Trie(
        words=np.full(size, -1, dtype=np.int32),
        log_probs=np.zeros(size, dtype=np.float32),
        links=np.zeros(size, dtype=np.int32),
        backoffs=np.zeros(contexts, dtype=np.float32),
        children=np.ones(contexts + 1, dtype=np.int32),
    )
    begin, end = 0, 1  # the nodes of the order below
    for order, table in enumerate(ngrams.tables, start=1):
        parents = find_parents(trie, table.words)
        ranks = _ranks(ngrams, order, parents)
        after = end + len(ranks)
        trie.words[end:after] = table.words[ranks, -1]
        trie.log_probs[end:after] = table.log_probs[ranks]
        if order < ngrams.order:
            trie.backoffs[end:after] = table.backoffs[ranks]
        fan = np.bincount(parents - begin, minlength=end - begin)
        trie.children[begin + 1 : end + 1] = end + np.cumsum(fan)
        # Nodes of this order have no children yet, wherever those are going to be.
        trie.children[end + 1 :] = after
        begin, end = end, after
    link_nodes(trie)
    return trie


def _ranks(ngrams: Ngrams, order: int, parents: NDArray[np.int32]) -> NDArray[np.int64]:
    """The n-grams' rows in the sequence of the tree."""
    words = ngrams.tables[order - 1].words
    if len(parents) and parents.min() < 0:
        row = int(np.argmax(parents < 0))
        context = " ".join(ngrams.vocabulary[word] for word in words[row, :-1])
        raise _error(
            ngrams,
            order,
            row,
            f"the context {context!r} is not among the {order - 1}-grams",
            "make the model with a tool that keeps contexts",
        )
    keys = (parents.astype(np.int64) << 32) | words[:, -1]
    ranks = np.argsort(keys, kind="stable")
    double = np.flatnonzero(keys[ranks[1:]] == keys[ranks[:-1]])
    if len(double):
        row = int(ranks[double + 1].min())
        ngram = " ".join(ngrams.vocabulary[word] for word in words[row])
        raise _error(ngrams, order, row, f"the n-gram {ngram!r} stands twice", "mend the model")
    return ranks


def _error(ngrams: Ngrams, order: int, row: int, what: str, remedy: str) -> LanguageModelError:
    first = ngrams.tables[order - 1].first_line
    where = ngrams.source if first is None else f"{ngrams.source}, line {first + row}"
    return LanguageModelError(what, where=where, remedy=remedy)
