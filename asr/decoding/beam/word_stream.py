"""Streams of beam search over words: see :mod:`asr.decoding.beam.word_decoder`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.best_path import Scored, with_best_path
from asr.decoding.beam.blocks import GUARD, BlockStream, cut_between, fitted
from asr.decoding.beam.running import Labels, RunningSearch, begins_with
from asr.decoding.beam.tables import Records
from asr.decoding.beam.tree import ROOT
from asr.decoding.beam.word_ends import end_words
from asr.decoding.beam.word_histories import compact_histories
from asr.decoding.beam.word_paths import GAP, Said, best_word_path
from asr.decoding.beam.word_scores import start_cache
from asr.decoding.beam.word_search import search_words
from asr.decoding.spans import Span, highest, spelled, timed_tokens, word_of
from asr.decoding.stability import WORDS
from asr.decoding.stopping import Stop, StoppedError
from asr.decoding.stream import Partial
from asr.lm.ngrams import UNKNOWN
from asr.tokens import Tokenizer
from asr.types import Hypothesis, TimedToken, Word

if TYPE_CHECKING:
    from asr.decoding.beam.language import Language
    from asr.decoding.beam.scoring import Options, WordBoosts
    from asr.decoding.beam.words import WordGrammar

__all__ = ["WordInputs", "WordSearch", "WordStream"]

BEST_PATH_WIDTH = 64  # ways to read one path as words: few, and cheap


class WordInputs(NamedTuple):
    """What is made once for many searches: what they take beside the frames, and how they begin."""

    options: Options
    grammar: WordGrammar
    boosts: WordBoosts
    beam: Records
    histories: Records
    places: NDArray[np.int32]


class WordSearch(RunningSearch):
    """A search for words that takes its frames in pieces."""

    def __init__(self, inputs: WordInputs) -> None:
        super().__init__(inputs.beam, inputs.histories, "word")
        self._places = inputs.places.copy()
        self._inputs = inputs[:3]

    def advance(
        self, frames: NDArray[np.floating], cache: Records, stop: Stop, *, ends: bool
    ) -> list[Scored]:
        """Take ``frames (T, V)``; if they are the last, sentences, best first, without the words
        that are said for good. ``cache`` is room for what the language model says.

        Raises:
            StoppedError: asked for by ``stop``.
        """
        if not self.possible:
            return []
        values = np.ascontiguousarray(frames, dtype=np.float64)
        state = (self.beam, self.size, self.tree, self.rows, self._places, self.marks, self.frame)
        taken, self.beam, self.size, self.tree, self.rows, self._places, words, scores = (
            search_words(values, ends, *state, cache, *self._inputs, stop.flag)
        )
        self.frame += taken
        if taken < len(values):
            if stop.flag[0]:
                raise StoppedError
            self.possible = False
        return self._sentences(words, scores)

    def _oldest_after(self, row: int) -> int:
        """What follows a history begins when it is made."""
        beam = self.beam[: self.size]
        nodes, grammar = beam["lexicon_node"], self._inputs[1]
        M, J = len(grammar.below), len(grammar.silences)
        waits = (nodes == ROOT) | ((nodes >= M) & (nodes < M + J))  # for a word to begin
        if waits.all() and (beam["row"] == row).all():
            return self.frame
        return int(self.tree["frame"][row])

    def best_now(self) -> Labels:
        """The words of the best prefix, with the best one that it may end with now, if any may."""
        slot = self.best_slot
        words, scores = end_words(self.beam[slot : slot + 1].copy(), 1, *self._inputs)
        ended = self._sentences(words, scores)
        return ended[0].labels if ended else self.spell(self.best_row)

    def share_of_words(self, words: Labels) -> float:
        """Of the probability of all prefixes, what those have that say these words so far."""
        best = self.beam[self.best_slot]
        row = int(best["row"])
        if words == self.spell(row):
            return self.share_of(row, None)
        # The last of the words has not ended in the best prefix, and may have in others.
        beam, tree = self.beam[: self.size], self.tree[: self.rows]
        same = (beam["row"] == row) & (beam["lexicon_node"] == best["lexicon_node"])
        ended = np.flatnonzero((tree["parent"] == row) & (tree["word"] == words[-1]))
        return self.share(same) + sum(self.share_of(int(each), None) for each in ended)

    def _sentences(self, words: NDArray[np.int32], scores: NDArray[np.float64]) -> list[Scored]:
        order = np.argsort(-scores.sum(axis=1), kind="stable")
        return [Scored(self._words_of(*words[i].tolist()), *scores[i].tolist()) for i in order]

    def _words_of(self, row: int, last: int) -> Labels:
        """Of a history and one more word; NONE is none."""
        return self.spell(row, last) if last >= 0 else self.spell(row)

    def _compact(self, root: int) -> None:
        self.tree, self.rows, self._places = compact_histories(
            self.beam, self.size, self.tree, self.marks, root
        )


class WordStream(BlockStream[WordSearch]):
    """An utterance that is searched for the ``nbest`` best sentences."""

    def __init__(
        self,
        inputs: WordInputs,
        nbest: int,
        language: Language,
        tokenizer: Tokenizer,
        seconds_per_frame: float,
        stop: Stop | None,
        first_frame: int,
        caches: list[Records],
    ) -> None:
        options = inputs.options
        wide = options._replace(beam_width=max(options.beam_width, BEST_PATH_WIDTH))
        super().__init__(
            WordSearch(inputs),
            WordSearch(inputs._replace(options=wide)),
            tokenizer.size,
            language.closed.between,
            options.token_min_log_prob,
            seconds_per_frame,
            stop,
            first_frame,
        )
        self._nbest = nbest
        self._language = language
        self._tokenizer = tokenizer
        self._separated = inputs.grammar.separated
        self._between = language.closed.between
        self._caches = caches
        self._words: list[Word] = []  # that are said for good
        self._stable = ""
        self._stable_words = 0
        # Where the best prefix is, and since which frame, as far as partials were asked for.
        self._place: tuple[int, Labels, int] | None = None
        self._place_since = 0

    def _advance(
        self, search: WordSearch, frames: NDArray[np.floating], *, ends: bool
    ) -> list[Scored]:
        try:
            cache = self._caches.pop()
        except IndexError:  # all are in use
            cache = start_cache()
        try:
            found = search.advance(frames, cache, self._stop, ends=ends)
        finally:
            self._caches.append(cache)
        return found if search is self._main else found[:1]

    def _ranked(self, found: list[Scored], alone: list[Scored]) -> list[Scored]:
        settled = self._main.settled()
        alone = [each for each in alone if begins_with(each.labels, settled)]
        return with_best_path(found, alone)[: self._nbest]

    def text(self, found: Scored) -> str:
        """The text of a result of :meth:`search`, which takes no alignment; unknown words are
        marked."""
        names = self._language.spoken[0]
        said = [names[word] if word < len(names) else UNKNOWN for word in found.labels]
        return " ".join([*(word.text for word in self._words), *said])

    def _hypothesis(self, found: Scored) -> Hypothesis:
        put_together = self._put_together(found.labels, found.score)
        return replace(put_together, lm_score=found.lm, bonus_score=found.bonus)

    def _put_together(self, words: Labels, score: float) -> Hypothesis:
        """What was said for good and ``words``."""
        path = self._aligned(words, self._open.all(), goes_on=False)
        spans = self._said.spans(self._first)
        if self._separated and spans and not path and spans[-1][0] in self._between:
            spans.pop()  # no word follows the separator
        peaks = self._said.log_confidences[: len(spans)].tolist() + self._peaks(path)
        spans += self._open.placed(_spans(path), self._first)
        found = spelled(
            spans,
            peaks,
            0.0 if spans else self._open.blank(),
            score,
            self._tokenizer,
            self._seconds_per_frame,
        )
        own = found.tokens[len(spans) - len(path) :]
        said = (*self._words, *self._timed(words, path, own))
        return replace(found, text=" ".join(word.text for word in said), words=said)

    def _peaks(self, path: Sequence[Said]) -> list[float]:
        return highest(self._open.all(), _spans(path))

    def _aligned(self, words: Labels, rows: NDArray[np.float32], *, goes_on: bool) -> list[Said]:
        """The best path through ``rows`` that says ``words``; see :func:`best_word_path`."""
        said = self._ways(words)

        def find(rows: NDArray[np.float32]) -> list[Said]:
            return best_word_path(
                rows,
                said,
                self._between,
                separated=self._separated,
                stop=self._stop,
                follows=bool(self._said) and self._said.ids[-1] not in self._between,
                goes_on=goes_on,
            )

        most = sum(1 + max(map(len, each), default=1) for each in said)  # with one between words
        path, times = fitted(find, rows, most)
        return [
            each._replace(start=each.start // times, end=-(-each.end // times)) for each in path
        ]

    def _ways(self, words: Labels) -> list[Sequence[Labels]]:
        """The ways to say each; unknown words have none."""
        _, ways = self._language.spoken
        return [ways[word] if word < len(ways) else () for word in words]

    def _least_frames(self, words: Labels) -> int:
        """They do not fit in fewer."""
        return sum(min(map(len, each), default=1) for each in self._ways(words))

    def _timed(
        self, words: Labels, path: Sequence[Said], tokens: Sequence[TimedToken]
    ) -> list[Word]:
        """The ``words`` of a ``path``, with the times of its ``tokens``."""
        names, _ = self._language.spoken
        timed = []
        for number, group in groupby(zip(path, tokens, strict=True), lambda pair: pair[0].word):
            if number == GAP:
                continue
            pairs = list(group)
            word = words[number]
            name = names[word] if word < len(names) else self._unknown([s.token for s, _ in pairs])
            timed.append(word_of(name, [token for _, token in pairs]))
        return timed

    def _unknown(self, tokens: list[int]) -> str:
        """An unknown word as its tokens spell it; phones do not."""
        return UNKNOWN if self._tokenizer.kind == "phones" else self._tokenizer.decode(tokens)

    def _say(self, leader: WordSearch, settled: int, near: int, limit: int) -> tuple[int, int]:
        best, rows = leader.spell(leader.best_row), self._open.all()
        # The history ended where something else began.
        window = self._open.before(leader.first_said(near) + GUARD)
        if window >= self._least_frames(best[:near]):  # else they were put later than they ended
            best, rows = best[:near], rows[:window]
        path = self._aligned(best, rows, goes_on=True)
        ends = [max(each.end for each in path if each.word == n) for n in range(settled)]
        count = sum(end <= limit for end in ends)
        # With the separator behind the last of these words.
        size = next((i for i, each in enumerate(path) if each.word >= count), len(path))
        while size and path[size - 1].end > limit:
            size -= 1
        kept, rest = path[:size], path[size:]
        spans, peaks = self._open.placed(_spans(kept)), self._peaks(kept)
        self._said.append(spans, peaks)
        moved = [(k, self._first + start, self._first + end) for k, start, end in spans]
        tokens = timed_tokens(moved, peaks, self._tokenizer, self._seconds_per_frame)
        self._words += self._timed(best, kept, tokens)
        before = kept[-1].end if kept else 0
        return count, cut_between(before, rest[0].start if rest else None, limit)

    def _partial(self, words: bool) -> Partial:
        leader = self._leader()
        end = (self._first + self._frame) * self._seconds_per_frame
        if leader is None:
            return Partial(self._stable, self._stable, 1.0, end)
        best = leader.best_now()
        timed: tuple[Word, ...] = ()
        names = self._language.spoken[0]
        if words or any(word >= len(names) for word in best):  # unknown words are spelled by times
            timed = self._put_together(best, 0.0).words
            fresh = [word.text for word in timed[self._stable_words :]]
        else:
            fresh = [word.text for word in self._words[self._stable_words :]]
            fresh += [names[word] for word in best[max(0, self._stable_words - len(self._words)) :]]
        self._extend_stable(fresh, self._shared(leader))
        text = " ".join(filter(None, (self._stable, *fresh)))
        return Partial(
            text,
            self._stable,
            1.0 if not fresh else self._stability(leader, best),
            end,
            timed if words else (),
            self._stable_words if words else 0,
        )

    def _extend_stable(self, fresh: list[str], shared: Labels) -> None:
        """Move from ``fresh`` words into the stable text those that are ``shared``, before the
        first whose spelling may change."""
        known = len(self._language.spoken[0])
        spelled = next((i for i, word in enumerate(shared) if word >= known), len(shared))
        count = len(self._words) + spelled - self._stable_words
        if count > 0:
            self._stable = " ".join(filter(None, (self._stable, *fresh[:count])))
            self._stable_words += count
            del fresh[:count]

    def _stability(self, leader: WordSearch, best: Labels) -> float:
        prefix = leader.beam[leader.best_slot]
        place = (len(self._words), best, int(prefix["lexicon_node"]))
        if place != self._place:
            self._place, self._place_since = place, self._frame
        quiet = (self._frame - self._place_since) * self._seconds_per_frame
        if best == leader.spell(leader.best_row):
            quiet = math.inf  # the last word has ended
        return WORDS(leader.share_of_words(best), quiet)


def _spans(path: Sequence[Said]) -> list[Span]:
    return [(each.token, each.start, each.end) for each in path]
