"""Beam search over words said by a lexicon. The search itself is compiled:
:mod:`asr.decoding.beam.word_search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.batches import decode_all
from asr.decoding.beam.best_path import best_path_alone, with_best_path
from asr.decoding.beam.phrases import Phrase, build_word_boosts
from asr.decoding.config import BeamOptions
from asr.decoding.spans import hypothesis, word_of
from asr.decoding.stopping import Stop, StoppedError
from asr.decoding.stream import DecoderStream, WholeStream
from asr.lm.ngrams import UNKNOWN
from asr.tokens import Tokenizer
from asr.types import DecodingError, Hypothesis

if TYPE_CHECKING:
    from torch import Tensor

    from asr.decoding.beam.language import Language
    from asr.decoding.beam.scoring import Options, WordBoosts
    from asr.decoding.beam.words import WordGrammar

__all__ = ["Sentence", "WordDecoder"]

BEST_PATH_WIDTH = 64  # ways to read one path as words: few, and cheap


@dataclass(frozen=True)
class Sentence:
    """Words by number, and the parts of their score: natural logarithms, the model's weighted."""

    words: tuple[int, ...]
    acoustic: float
    lm: float
    bonus: float

    @property
    def score(self) -> float:
        """What sentences are ranked by."""
        return self.acoustic + self.lm + self.bonus


@dataclass(frozen=True)
class WordDecoder:
    """Keeps the ``beam_width`` best beginnings of word sequences after each frame.

    The acoustic score is the log-probability of the words, summed over the paths that survived and
    over all ways to say them. Words that are said alike are different hypotheses. The utterances of
    a batch are searched by as many threads as there are processors.
    """

    options: BeamOptions
    tokenizer: Tokenizer
    seconds_per_frame: float
    language: Language
    phrases: Sequence[Phrase] = ()

    def __post_init__(self) -> None:
        """Make everything ready.

        Raises:
            DecodingError: a score for tokens is set, or a word of a phrase is not in the lexicon.
        """
        if self.options.token_score:
            raise DecodingError(
                "there is no score for tokens where words are said in several ways",
                remedy="use word_score",
            )
        _ = self._inputs

    def begin(self, stop: Stop | None = None, *, first_frame: int = 0) -> DecoderStream:
        """See :meth:`asr.decoding.Decoder.begin`."""
        return WholeStream(
            self._decode_one, self.tokenizer.size, self.seconds_per_frame, stop, first_frame
        )

    def decode(
        self, log_probs: Tensor, lengths: Tensor, stop: Stop | None = None
    ) -> list[list[Hypothesis]]:
        """Return up to ``nbest`` hypotheses for each utterance of ``(B, T, V)``, best first.

        Raises:
            DecodingError: see :func:`asr.decoding.inputs.checked`; or no words of the lexicon are
                possible.
            StoppedError: asked for by ``stop``.
        """
        stop = stop or Stop()

        def decode_one(frames: NDArray[np.float32]) -> list[Hypothesis]:
            return self._decode_one(frames, stop)

        return decode_all(decode_one, log_probs, lengths, self.tokenizer.size)

    def _decode_one(self, frames: NDArray[np.float32], stop: Stop) -> list[Hypothesis]:
        found = self.search(frames, self.options.nbest, stop)
        return [self._hypothesis(frames, sentence, stop) for sentence in found]

    def search(self, frames: NDArray[np.float32], count: int, stop: Stop) -> list[Sentence]:
        """The best ``count`` sentences of ``frames (T, V)``, best first; none if none is possible.

        The best one that the best path says is among them unless as many score higher.

        Raises:
            StoppedError: asked for by ``stop``.
        """
        options = self._inputs[0]
        found = self._search(frames, count, options, stop)
        options = options._replace(beam_width=max(options.beam_width, BEST_PATH_WIDTH))
        path = self._search(best_path_alone(frames), 1, options, stop)
        return with_best_path(found, path, lambda sentence: sentence.words)[:count]

    def _search(
        self, frames: NDArray[np.floating], count: int, options: Options, stop: Stop
    ) -> list[Sentence]:
        from asr.decoding.beam.word_search import search_words

        values = np.ascontiguousarray(frames, dtype=np.float64)
        _, grammar, boosts = self._inputs
        taken, histories, ends, scores = search_words(values, options, grammar, boosts, stop.flag)
        if taken < len(frames) and stop.flag[0]:
            raise StoppedError
        order = np.argsort(-scores.sum(axis=1), kind="stable")[:count]
        parents, words = histories["parent"], histories["word"]

        def spell(row: int, last: int) -> tuple[int, ...]:
            said = [last]
            while row > 0:
                said.append(words.item(row))
                row = parents.item(row)
            return tuple(word for word in reversed(said) if word >= 0)

        return [Sentence(spell(*ends[i].tolist()), *scores[i].tolist()) for i in order]

    @cached_property
    def _inputs(self) -> tuple[Options, WordGrammar, WordBoosts]:
        """What the compiled search takes beside the frames."""
        from asr.decoding.beam.language import search_options

        options = search_options(self.options, self.tokenizer, has_words=True)
        grammar = self.language.words(self.options)
        boosts = build_word_boosts(self.phrases, self.language.closed, grammar.tree)
        return options, grammar, boosts

    def _hypothesis(self, frames: NDArray[np.float32], found: Sentence, stop: Stop) -> Hypothesis:
        from asr.decoding.beam.word_paths import best_word_path

        names, ways = self.language.spoken
        grammar = self._inputs[1]
        said = best_word_path(
            frames,
            [ways[word] if word < len(ways) else () for word in found.words],
            self.language.closed.between,
            separated=grammar.separated,
            stop=stop,
        )
        spans = [(each.token, each.start, each.end) for each in said]
        spelled = hypothesis(
            frames,
            spans,
            found.score,
            self.tokenizer,
            self.seconds_per_frame,
            self.language.closed.between,
        )
        words = []
        for number, group in groupby(zip(said, spelled.tokens, strict=True), lambda p: p[0].word):
            if number < 0:
                continue
            pairs = list(group)
            word = found.words[number]
            name = names[word] if word < len(names) else self._unknown([s.token for s, _ in pairs])
            words.append(word_of(name, [token for _, token in pairs]))
        return replace(
            spelled,
            text=" ".join(word.text for word in words),
            words=tuple(words),
            lm_score=found.lm,
            bonus_score=found.bonus,
        )

    def _unknown(self, tokens: list[int]) -> str:
        """An unknown word as its tokens spell it; phones do not."""
        return UNKNOWN if self.tokenizer.kind == "phones" else self.tokenizer.decode(tokens)
