"""Prefix beam search: labellings scored by the sum over their paths, and by what is known of the
language. The search itself is compiled: :mod:`asr.decoding.beam.search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.batches import decode_all
from asr.decoding.beam.best_path import best_path_alone, with_best_path
from asr.decoding.beam.phrases import Phrase, build_boosts
from asr.decoding.config import BeamOptions
from asr.decoding.spans import best_alignment, hypothesis
from asr.decoding.stopping import Stop, StoppedError
from asr.decoding.stream import DecoderStream, WholeStream
from asr.tokens import BLANK, Tokenizer
from asr.types import Hypothesis

if TYPE_CHECKING:
    from torch import Tensor

    from asr.decoding.beam.language import Language
    from asr.decoding.beam.scoring import Boosts, Grammar, Options
    from asr.decoding.beam.tables import Records

__all__ = ["BeamDecoder", "Labelling", "prefix_beam_search"]

Labels = tuple[int, ...]


@dataclass(frozen=True)
class Labelling:
    """Tokens, and the parts of their score: natural logarithms, the model's already weighted."""

    labels: Labels
    acoustic: float
    lm: float
    bonus: float

    @property
    def score(self) -> float:
        """What labellings are ranked by."""
        return self.acoustic + self.lm + self.bonus


@dataclass(frozen=True)
class BeamDecoder:
    """Keeps the ``beam_width`` best prefixes after each frame.

    The acoustic score is the log-probability of the text, summed over the paths that survived, also
    those of labellings that differ from it only in spaces. A word is scored by a language model of
    words when it ends, and ranked before that by the most probable word it may become. Of the ways
    that subwords may spell a text, the one that scores best is given, with its own scores. The
    utterances of a batch are searched by as many threads as there are processors.
    """

    options: BeamOptions
    tokenizer: Tokenizer
    seconds_per_frame: float
    language: Language | None = None
    phrases: Sequence[Phrase] = ()

    def __post_init__(self) -> None:
        """Make everything ready.

        Raises:
            DecodingError: a phrase cannot be spelled, or has words that the lexicon refuses; or a
                score for words is set, and the vocabulary has no separator of words.
        """
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
            DecodingError: see :func:`asr.decoding.inputs.checked`; or no text in words of the
                lexicon is possible.
            StoppedError: asked for by ``stop``.
        """
        stop = stop or Stop()

        def decode_one(frames: NDArray[np.float32]) -> list[Hypothesis]:
            return self._decode_one(frames, stop)

        return decode_all(decode_one, log_probs, lengths, self.tokenizer.size)

    def _decode_one(self, frames: NDArray[np.float32], stop: Stop) -> list[Hypothesis]:
        found = self._search_texts(frames, stop)
        return [self._hypothesis(frames, labelling, stop) for labelling in found]

    def _search_texts(self, frames: NDArray[np.float32], stop: Stop) -> list[Labelling]:
        """The best labelling of each of the best texts: subwords spell one in several ways."""
        if self.tokenizer.kind != "subwords":
            return self.search(frames, self.options.nbest, stop)
        found: dict[str, Labelling] = {}
        for labelling in self.search(frames, self.options.beam_width, stop):
            found.setdefault(self.tokenizer.decode(labelling.labels), labelling)
        return list(found.values())[: self.options.nbest]

    def search(self, frames: NDArray[np.float32], count: int, stop: Stop) -> list[Labelling]:
        """The best ``count`` labellings of ``frames (T, V)``, best first; none if none is possible.

        That of the best path is among them unless as many score higher: a narrow beam may lose it.

        Raises:
            StoppedError: asked for by ``stop``.
        """
        found = _search(frames, count, *self._inputs, stop)
        path = _search(best_path_alone(frames), 1, *self._inputs, stop)
        return with_best_path(found, path, lambda labelling: labelling.labels)[:count]

    @cached_property
    def _inputs(self) -> tuple[Options, Grammar, Boosts]:
        """What the compiled search takes beside the frames."""
        from asr.decoding.beam.language import NOTHING, search_options

        grammar = self.language.grammar(self.options) if self.language else NOTHING
        options = search_options(self.options, self.tokenizer)
        if grammar.has_lexicon and self.options.unk_score is None and self.language:
            self.language.check_phrases(self.phrases)
        return options, grammar, build_boosts(self.phrases, self.tokenizer)

    def _hypothesis(self, frames: NDArray[np.float32], found: Labelling, stop: Stop) -> Hypothesis:
        spans = best_alignment(frames, found.labels, stop, self.tokenizer.word_separator)
        spelled = hypothesis(frames, spans, found.score, self.tokenizer, self.seconds_per_frame)
        return replace(spelled, lm_score=found.lm, bonus_score=found.bonus)


def prefix_beam_search(
    log_probs: NDArray[np.floating],
    beam_width: int,
    token_min_log_prob: float,
    stop: Stop | None = None,
    separator: int | None = None,
) -> list[tuple[Labels, float]]:
    """Labellings of ``log_probs (T, V)`` and their log-probabilities, best first, of no language.

    With a ``separator`` of words, labellings that differ only in separators are one.

    Raises:
        StoppedError: asked for by ``stop``.
    """
    from asr.decoding.beam.language import NOTHING, search_options

    anonymous = Tokenizer([BLANK, *map(str, range(1, max(2, log_probs.shape[1])))], "phones")
    chosen = BeamOptions(token_min_log_prob=token_min_log_prob, beam_threshold=None)
    options = search_options(chosen, anonymous)
    options = options._replace(beam_width=beam_width)
    if separator is not None:
        options = options._replace(separator=separator)
    boosts = build_boosts((), anonymous)
    found = _search(log_probs, beam_width, options, NOTHING, boosts, stop or Stop())
    return [(labelling.labels, labelling.score) for labelling in found]


def _search(
    frames: NDArray[np.floating],
    count: int,
    options: Options,
    grammar: Grammar,
    boosts: Boosts,
    stop: Stop,
) -> list[Labelling]:
    """The best ``count`` labellings, best first; none where nothing is possible."""
    from asr.decoding.beam.search import search

    values = np.ascontiguousarray(frames, dtype=np.float64)
    taken, tree, rows, scores = search(values, options, grammar, boosts, stop.flag)
    if taken < len(frames) and stop.flag[0]:
        raise StoppedError
    order = np.argsort(-scores.sum(axis=1), kind="stable")[:count]
    return [
        Labelling(_spell(tree, int(row)), *map(float, parts))
        for row, parts in zip(rows[order], scores[order], strict=True)
    ]


def _spell(tree: Records, row: int) -> Labels:
    """The tokens from the root of the prefix tree to the prefix of that row."""
    parents, tokens = tree["parent"], tree["token"]
    labels: list[int] = []
    while row > 0:
        labels.append(tokens.item(row))
        row = parents.item(row)
    return tuple(reversed(labels))
