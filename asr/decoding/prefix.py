"""Prefix search: the most probable labelling, best-first (Graves et al. 2006, section 3.2).

A prefix is worth what all labellings that begin with it are worth together, so the search may leave
a prefix alone while something better is open, and what it gives is the most probable labelling for
certain, where beam search only keeps what looked well. The number of prefixes it has to extend
grows exponentially with length unless the outputs are peaked, so the paper cuts an utterance into
sections where a blank is all but certain, searches each, and joins what it finds. An utterance
shows in :attr:`asr.types.Hypothesis.search` how far the claim holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count as numbers
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.decoder import prefix_beam_search
from asr.decoding.config import BeamOptions, PrefixOptions
from asr.decoding.inputs import checked
from asr.decoding.spans import best_alignment, gap_states, hypothesis, path_spans, squeeze
from asr.decoding.stopping import Stop
from asr.decoding.stream import WholeStream
from asr.tokens import BLANK_ID, Tokenizer
from asr.types import Hypothesis, Search

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Found", "PrefixDecoder", "labelling_log_prob", "prefix_search"]

Labels = tuple[int, ...]
Floats = NDArray[np.float64]
_Tree = dict[int, "_Tree"]

FIRST = BeamOptions()  # gives a section its first answer


@dataclass(frozen=True)
class Found:
    """A labelling, the logarithm of its probability over all paths, and what the search proved."""

    labels: Labels
    log_prob: float
    search: Search


@dataclass(frozen=True)
class PrefixDecoder:
    """Finds the most probable texts; the score is the exact log-probability of each: of all
    labellings that differ from it only in spaces. Of the ways that subwords may spell a text, the
    most probable counts.
    """

    options: PrefixOptions
    tokenizer: Tokenizer
    seconds_per_frame: float

    def begin(self, stop: Stop | None = None, *, first_frame: int = 0) -> WholeStream:
        """See :meth:`asr.decoding.Decoder.begin`: the stream decodes when it finishes."""
        return WholeStream(
            self._decode_one, self.tokenizer.size, self.seconds_per_frame, stop, first_frame
        )

    def decode(
        self, log_probs: Tensor, lengths: Tensor, stop: Stop | None = None
    ) -> list[list[Hypothesis]]:
        """Return up to ``nbest`` hypotheses for each utterance of ``(B, T, V)``, best first.

        Raises:
            DecodingError: see :func:`asr.decoding.inputs.checked`.
            StoppedError: asked for by ``stop``.
        """
        return [
            self._decode_one(frames, stop or Stop())
            for frames in checked(log_probs, lengths, self.tokenizer.size)
        ]

    def _decode_one(self, frames: NDArray[np.float32], stop: Stop) -> list[Hypothesis]:
        config, separator = self.options, self.tokenizer.word_separator
        results: dict[str, Hypothesis] = {}
        for found in prefix_search(
            frames, config.nbest, config.blank_threshold, config.max_expansions, stop, separator
        ):
            spans = best_alignment(frames, found.labels, stop, separator)
            spelled = hypothesis(
                frames, spans, found.log_prob, self.tokenizer, self.seconds_per_frame
            )
            # Subwords may spell one text in several ways; the first is the most probable.
            results.setdefault(spelled.text, replace(spelled, search=found.search))
        return list(results.values())


def prefix_search(
    log_probs: NDArray[np.float32],
    count: int,
    blank_threshold: float,
    max_expansions: int,
    stop: Stop | None = None,
    separator: int | None = None,
) -> list[Found]:
    """The ``count`` most probable labellings of ``log_probs (T, V)``, best first.

    With a ``separator`` of words, labellings that differ only in separators are one.

    Fewer where fewer are possible, or where ``max_expansions`` ends the search before. Frames whose
    blank is more probable than ``blank_threshold`` divide sections; 1.0 leaves the utterance whole.
    ``max_expansions`` bounds the prefixes that are extended in each section; when it ends the
    search, what is best so far is given, never worse than what a beam finds there, or the best
    path. A section whose labellings have more tokens than that is left to the beam.

    Raises:
        StoppedError: asked for by ``stop``.
    """
    stop = stop or Stop()
    sections = _sections(log_probs, blank_threshold)
    if sections is None:
        found, proven = _Section(log_probs, count, max_expansions, stop, separator).run()
        searches: list[Search] = ["exact" if i < proven else "cut" for i in range(len(found))]
        labellings = [labels for labels, _ in found]
    else:
        labellings, complete = _texts_of_sections(sections, count, max_expansions, stop, separator)
        searches = ["sectioned" if complete else "cut"] * len(labellings)
    results = [
        Found(labels, labelling_log_prob(log_probs, labels, stop, separator), search)
        for labels, search in zip(labellings, searches, strict=True)
    ]
    return sorted(results, key=lambda item: -item.log_prob)


def _sections(
    log_probs: NDArray[np.float32], blank_threshold: float
) -> list[NDArray[np.float32]] | None:
    """The frames between those whose blank is beyond the threshold; None where there are none."""
    sure = log_probs[:, BLANK_ID] > math.log(blank_threshold)
    if blank_threshold == 1.0 or not sure.any():  # rounding may leave a probability above 1
        return None
    return [log_probs[a:b] for _, a, b in path_spans(np.where(sure, BLANK_ID, BLANK_ID + 1))]


def _texts_of_sections(
    sections: Sequence[NDArray[np.float32]],
    count: int,
    max_expansions: int,
    stop: Stop,
    separator: int | None,
) -> tuple[list[Labels], bool]:
    """The best ``count`` texts, and whether each section was searched to the end.

    Labellings of a section may be one text, with separators at either end or twice between words:
    more of them are asked for until the texts are enough, or there are no more.
    """
    asked = count
    while True:
        labellings, complete, all_there_are = _search_sections(
            sections, asked, max_expansions, stop, separator
        )
        if len(labellings) >= count or all_there_are:
            return labellings[:count], complete
        asked *= 4


def _search_sections(
    sections: Sequence[NDArray[np.float32]],
    count: int,
    max_expansions: int,
    stop: Stop,
    separator: int | None,
) -> tuple[list[Labels], bool, bool]:
    """Best joins of the sections' labellings; whether each section was searched to the end, and
    whether these are all joins that were found.

    In a section a separator at either end counts: it may stand between words of two.
    """
    joined: dict[Labels, float] = {(): 0.0}
    complete = all_there_are = True
    for section in sections:
        found, proven = _Section(section, count, max_expansions, stop).run()
        complete = complete and proven == len(found)
        all_there_are = all_there_are and len(found) < count
        longer: dict[Labels, float] = {}
        for left, left_score in joined.items():
            for right, right_score in found:  # blanks stand between: repeats do not merge
                both = _squeezed(left + right, separator)
                score = longer.get(both, -math.inf)
                longer[both] = float(np.logaddexp(score, left_score + right_score))
        all_there_are = all_there_are and len(longer) <= count
        joined = dict(sorted(longer.items(), key=lambda item: -item[1])[:count])
    ended = (labels[:-1] if labels[-1:] == (separator,) else labels for labels in joined)
    return list(dict.fromkeys(ended)), complete, all_there_are


def _squeezed(labels: Labels, separator: int | None) -> Labels:
    """``labels`` without separators at the beginning and after others."""
    before = (separator, *labels)
    return tuple(k for k, last in zip(labels, before, strict=False) if k != separator or last != k)


@dataclass(frozen=True)
class _Prefix:
    """Forward variables of a prefix, logarithms ``(T + 1,)``: before the first frame, after each.

    They count the paths that spell the prefix and end in a blank, or in its last token.
    """

    labels: Labels
    in_blank: Floats
    in_token: Floats

    @property
    def log_prob(self) -> float:
        """Of the labelling that is this prefix and no more."""
        return float(np.logaddexp(self.in_blank[-1], self.in_token[-1]))


class _Section:
    """Best-first search over the prefixes of one section, as far as its budget goes."""

    def __init__(
        self,
        log_probs: NDArray[np.float32],
        count: int,
        max_expansions: int,
        stop: Stop,
        separator: int | None = None,
    ) -> None:
        beam = prefix_beam_search(
            log_probs, FIRST.beam_width, FIRST.token_min_log_prob, stop, separator
        )
        path = squeeze(path_spans(log_probs.argmax(axis=1)), separator)
        self._first = [tuple(k for k, _, _ in path), beam[0][0]]
        self._separator = separator
        self._beam = beam
        self._log_probs = log_probs
        self._log_y: Floats = log_probs.astype(np.float64)  # (T, V)
        self._y: Floats = np.exp(self._log_y)
        self._count = count
        self._budget = max_expansions
        self._stop = stop
        self._serial = numbers()  # of equally probable entries the earlier comes first
        # Unexpanded prefixes, by what all labellings that begin so have together: a prefix that is
        # expanded, and the token to extend it by.
        self._open: list[tuple[float, int, _Prefix, int]] = []
        self._complete: list[tuple[float, int, Labels]] = []
        self._highest: list[float] = []  # log-probabilities of the `count` best labellings so far

    def run(self) -> tuple[list[tuple[Labels, float]], int]:
        """Labellings with their log-probabilities, best first, and how many of them are proven."""
        if sum(map(len, self._first)) > self._budget:
            return self._unsearched(), 0
        self._follow(self._first)
        while self._budget > 0 and self._open_matters():
            _, _, prefix, token = heappop(self._open)
            self._expand(self._extended(prefix, token))
        best = sorted(self._complete)[: self._count]
        bound = self._open[0][0] if self._open else math.inf
        found = [(labels, -negative) for negative, _, labels in best]
        proven = sum(negative <= bound for negative, _, _ in best)
        return found, proven

    def _unsearched(self) -> list[tuple[Labels, float]]:
        """Of a section too long to search, what is known without: to follow a labelling would take
        memory in proportion to its tokens times the frames, some 10 GB for minutes of speech."""
        known = dict(self._beam)
        for labels in self._first:
            known[labels] = labelling_log_prob(self._log_probs, labels, self._stop, self._separator)
        return sorted(known.items(), key=lambda item: -item[1])[: self._count]

    def _open_matters(self) -> bool:
        """Whether an open prefix may have a labelling that is among the best."""
        return bool(self._open) and -self._open[0][0] > self._least()

    def _least(self) -> float:
        """What a labelling has to exceed to be among the best."""
        return self._highest[0] if len(self._highest) == self._count else -math.inf

    def _follow(self, labellings: Iterable[Labels]) -> None:
        """Expand ``labellings`` and their prefixes, so that there is an answer from the start."""
        tree: _Tree = {}
        for labels in labellings:
            branch = tree
            for token in labels:
                branch = branch.setdefault(token, {})
        empty = self._log_y[:, BLANK_ID]
        if self._separator is not None:
            empty = np.logaddexp(empty, self._log_y[:, self._separator])
        stay = np.cumsum(np.append(0.0, empty))
        waiting = [(_Prefix((), stay, np.full_like(stay, -np.inf)), tree)]
        while waiting:
            prefix, branch = waiting.pop()
            self._expand(prefix, leave_out=list(branch))
            waiting += [(self._extended(prefix, token), below) for token, below in branch.items()]

    def _expand(self, prefix: _Prefix, leave_out: Sequence[int] = ()) -> None:
        """Note the labelling ``prefix`` and open its extensions by every token that may matter."""
        self._stop.check()
        self._budget -= 1
        self._note(prefix)
        bounds = self._bounds(prefix)
        bounds[[BLANK_ID, *leave_out]] = -np.inf
        if self._in_gap(prefix):
            bounds[self._separator] = -np.inf
        for token in np.flatnonzero(bounds > self._least()).tolist():
            heappush(self._open, (-float(bounds[token]), next(self._serial), prefix, token))

    def _note(self, prefix: _Prefix) -> None:
        """Take the labelling ``prefix`` for a result; a separator at its end adds to it."""
        log_prob = prefix.log_prob
        if self._separator is not None and prefix.labels:
            if self._in_gap(prefix):
                return
            ended = self._extended(prefix, self._separator)
            log_prob = float(np.logaddexp(log_prob, ended.log_prob))
        if log_prob > -math.inf:
            heappush(self._highest, log_prob)
            if len(self._highest) > self._count:
                heappop(self._highest)
            self._complete.append((-log_prob, next(self._serial), prefix.labels))

    def _in_gap(self, prefix: _Prefix) -> bool:
        """Whether a separator would change nothing."""
        return self._separator is not None and prefix.labels[-1:] in ((), (self._separator,))

    def _bounds(self, prefix: _Prefix) -> Floats:
        """Log-probability of all labellings that begin with ``prefix`` and each token, ``(V,)``.

        The sum over the frame in which the token is first said; whatever follows has probability 1.
        """
        either = _matrix_product(np.logaddexp(prefix.in_blank, prefix.in_token)[:-1], self._y)
        if prefix.labels:
            last = prefix.labels[-1]
            either[last] = _matrix_product(prefix.in_blank[:-1], self._y[:, [last]])[0]
        return either

    def _extended(self, prefix: _Prefix, token: int) -> _Prefix:
        """Forward variables of ``prefix`` and ``token``: a repeat needs a blank before it."""
        from asr.decoding.recursions import extend_prefix

        fresh = prefix.in_blank[:-1]
        if prefix.labels[-1:] != (token,):
            fresh = np.logaddexp(fresh, prefix.in_token[:-1])
        in_blank, in_token = np.empty(len(fresh) + 1), np.empty(len(fresh) + 1)
        extend_prefix(fresh, self._log_y, token, token == self._separator, in_blank, in_token)
        return _Prefix((*prefix.labels, token), in_blank, in_token)


def _matrix_product(log_weights: Floats, y: Floats) -> Floats:
    """``ln(exp(log_weights) @ y)`` for weights beyond the range of floats."""
    highest = log_weights.max(initial=-np.inf)
    if highest == -np.inf:
        return np.full(y.shape[1], -np.inf)
    with np.errstate(divide="ignore"):
        return np.asarray(highest + np.log(np.exp(log_weights - highest) @ y))


def labelling_log_prob(
    log_probs: NDArray[np.float32],
    labels: Sequence[int],
    stop: Stop | None = None,
    separator: int | None = None,
) -> float:
    """ln p(labels | log_probs (T, V)), summed over all paths (Graves et al. 2006, eq. 5 to 8).

    With a ``separator``, the paths of all labellings that differ from this one only in separators.

    Raises:
        StoppedError: asked for by ``stop``.
    """
    stop = stop or Stop()
    states = np.full(2 * len(labels) + 1, BLANK_ID)
    states[1::2] = labels
    may_skip = np.zeros(len(states), dtype=bool)  # from two states before, over a blank
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    once = np.zeros(len(states), dtype=bool)
    gap = BLANK_ID if separator is None else separator
    if separator is not None:
        # A separator takes one frame, the gap behind it the others: so each path counts once.
        once = states == separator
        states[gap_states(labels, separator)] = log_probs.shape[1]
    alpha = np.full(len(states) + 2, -np.inf)  # two impossible states before the first
    alpha[2] = 0.0
    for frame in log_probs.astype(np.float64):
        stop.check()
        skip = np.where(may_skip, alpha[:-2], -np.inf)
        stay = np.where(once, -np.inf, alpha[2:])
        moved = np.logaddexp(np.logaddexp(stay, alpha[1:-1]), skip)
        alpha[2:] = moved + np.append(frame, np.logaddexp(frame[BLANK_ID], frame[gap]))[states]
    return float(np.logaddexp.reduce(alpha[-2:]) if len(labels) else alpha[-1])
