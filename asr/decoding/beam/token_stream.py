"""Streams of prefix beam search over tokens: see :mod:`asr.decoding.beam.decoder`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.best_path import Scored, with_best_path
from asr.decoding.beam.blocks import GUARD, BlockStream, cut_between, fitted
from asr.decoding.beam.running import Labels, RunningSearch, begins_with
from asr.decoding.beam.scoring import NO_LM
from asr.decoding.beam.search import compact, search
from asr.decoding.said import StableText
from asr.decoding.spans import Span, best_alignment, highest, quiet_tokens, spelled
from asr.decoding.stability import BEAM, LANGUAGE
from asr.decoding.stopping import Stop, StoppedError
from asr.decoding.stream import Partial
from asr.tokens import Tokenizer, min_frames
from asr.types import Hypothesis

if TYPE_CHECKING:
    from asr.decoding.beam.scoring import Boosts, Grammar, Options
    from asr.decoding.beam.tables import Records

__all__ = ["TokenInputs", "TokenSearch", "TokenStream"]


class TokenInputs(NamedTuple):
    """What is made once for many searches: what they take beside the frames, and how they begin."""

    options: Options
    grammar: Grammar
    boosts: Boosts
    beam: Records
    tree: Records


class TokenSearch(RunningSearch):
    """A search for tokens that takes its frames in pieces."""

    def __init__(self, inputs: TokenInputs) -> None:
        super().__init__(inputs.beam, inputs.tree, "token")
        self._inputs = inputs[:3]

    def advance(
        self, frames: NDArray[np.floating], count: int, stop: Stop, *, ends: bool
    ) -> list[Scored]:
        """Take ``frames (T, V)``; if they are the last, the best ``count`` labellings, best first,
        without the tokens that are said for good.

        Raises:
            StoppedError: asked for by ``stop``.
        """
        if not self.possible:
            return []
        values = np.ascontiguousarray(frames, dtype=np.float64)
        state = (self.beam, self.size, self.tree, self.rows, self.marks, self.frame)
        taken, self.beam, self.size, self.tree, self.rows, rows, scores = search(
            values, ends, *state, *self._inputs, stop.flag
        )
        self.frame += taken
        if taken < len(values):
            if stop.flag[0]:
                raise StoppedError
            self.possible = False
        order = np.argsort(-scores.sum(axis=1), kind="stable")[:count]
        return [
            Scored(self.spell(int(row)), *map(float, parts))
            for row, parts in zip(rows[order], scores[order], strict=True)
        ]

    def _compact(self, root: int) -> None:
        self.tree, self.rows = compact(self.beam, self.size, self.tree, self.marks, root)


class TokenStream(BlockStream[TokenSearch]):
    """An utterance that is searched for the ``nbest`` best texts."""

    def __init__(
        self,
        inputs: TokenInputs,
        nbest: int,
        tokenizer: Tokenizer,
        seconds_per_frame: float,
        stop: Stop | None,
        first_frame: int,
    ) -> None:
        super().__init__(
            TokenSearch(inputs),
            TokenSearch(inputs),
            tokenizer.size,
            quiet_tokens(tokenizer),
            inputs.options.token_min_log_prob,
            seconds_per_frame,
            stop,
            first_frame,
        )
        self._nbest = nbest
        self._tokenizer = tokenizer
        self._separator = tokenizer.word_separator
        # Subwords spell a text in several ways, so more are looked for.
        self._count = inputs.options.beam_width if tokenizer.kind == "subwords" else nbest
        self._starts = inputs.options.starts
        self._stable = StableText(tokenizer)
        knows_language = inputs.grammar.lm_units != NO_LM or inputs.grammar.has_lexicon
        self._calibrated = LANGUAGE if knows_language else BEAM

    def _advance(
        self, search: TokenSearch, frames: NDArray[np.floating], *, ends: bool
    ) -> list[Scored]:
        count = self._count if search is self._main else 1
        return search.advance(frames, count, self._stop, ends=ends)

    def _ranked(self, found: list[Scored], alone: list[Scored]) -> list[Scored]:
        """The best labelling of each of the best texts."""
        settled = self._main.settled()
        alone = [each for each in alone if begins_with(self._ended(each.labels), settled)]
        ranked = with_best_path(found, alone)[: self._count]
        if self._tokenizer.kind != "subwords":
            return ranked
        texts: dict[str, Scored] = {}
        for each in ranked:
            texts.setdefault(self._tokenizer.decode(each.labels), each)
        return list(texts.values())[: self._nbest]

    def text(self, found: Scored) -> str:
        """The text of a result of :meth:`search`, which takes no alignment."""
        return self._tokenizer.decode([*self._said.ids, *found.labels])

    def _unended(self, labels: Labels) -> Labels:
        return labels[:-1] if labels[-1:] == (self._separator,) else labels

    def _ended(self, labels: Labels) -> Labels:
        return labels if self._separator is None else (*labels, self._separator)

    def _hypothesis(self, found: Scored) -> Hypothesis:
        put_together = self._spelled(found.labels, found.score)
        return replace(put_together, lm_score=found.lm, bonus_score=found.bonus)

    def _spelled(self, labels: Labels, score: float) -> Hypothesis:
        """What was said for good and ``labels``."""
        spans, peaks = self._aligned(labels)
        spans = self._open.placed(spans, self._first)
        if self._said:
            spans = self._said.spans(self._first) + spans
        return spelled(
            spans,
            [*self._said.log_confidences, *peaks],
            0.0 if spans else self._open.blank(),
            score,
            self._tokenizer,
            self._seconds_per_frame,
        )

    def _aligned(self, labels: Labels, rows: int | None = None) -> tuple[list[Span], list[float]]:
        """The spans of ``labels`` in the open frames, or the first ``rows`` of them, and the
        highest log-probability in each."""
        frames = self._open.all()[:rows]
        follows = bool(self._said) and self._separator is not None

        def find(rows: NDArray[np.float32]) -> list[Span]:
            return best_alignment(rows, labels, self._stop, self._separator, follows=follows)

        spans, times = fitted(find, frames, len(labels))
        spans = [(k, start // times, -(-end // times)) for k, start, end in spans]
        return spans, highest(frames, spans)

    def _say(self, leader: TokenSearch, settled: int, near: int, limit: int) -> tuple[int, int]:
        best, rows = leader.spell(leader.best_row), None
        if near < len(best):
            rows = self._open.before(leader.first_said(near) + GUARD)
            if rows >= min_frames(best[:near]):
                best = best[:near]
            else:  # they were put later than they were first said
                rows = None
        best = self._unended(best)
        spans, peaks = self._aligned(best, rows)
        count = sum(end <= limit for _, _, end in spans[:settled])
        while count and best[count - 1] == self._separator:
            count -= 1  # one that no word follows would be no part of the text
        self._said.append(self._open.placed(spans[:count]), peaks[:count])
        before = spans[count - 1][2] if count else 0
        after = spans[count][1] if count < len(spans) else None
        return count, cut_between(before, after, limit)

    def _partial(self, words: bool) -> Partial:
        leader = self._leader()
        end = (self._first + self._frame) * self._seconds_per_frame
        if leader is None:
            return Partial(self._stable.text, self._stable.text, 1.0, end)
        best = leader.spell(leader.best_row)
        text = self._stable.extend(*self._fresh(best, len(self._shared(leader))))
        is_stable = len(text) == len(self._stable.text)
        return Partial(
            text,
            self._stable.text,
            1.0 if is_stable else self._stability(leader),
            end,
            self._spelled(self._unended(best), 0.0).timed_words() if words else (),
            self._stable.words if words else 0,
        )

    def _fresh(self, best: Labels, shared: int) -> tuple[Sequence[int], int]:
        """The tokens behind those of the stable text, and how many of them all hypotheses share."""
        said, stable = len(self._said), self._stable.tokens
        fresh = [*self._said.ids[stable:], *best[max(0, stable - said) :]]
        return fresh, said + shared - stable

    def _stability(self, leader: TokenSearch) -> float:
        row, node = leader.best_row, leader.tree[leader.best_row]
        quiet = (leader.frame - int(node["frame"])) * self._seconds_per_frame
        may_follow = self._starts.copy()
        if self._separator is None:  # tokens stand for themselves, and do not go on
            may_follow[:] = True
            quiet = math.inf
        else:
            may_follow[self._separator] = True
            if row and node["token"] == self._separator:
                row, quiet = int(node["parent"]), math.inf
        return self._calibrated(leader.share_of(row, may_follow), quiet)
