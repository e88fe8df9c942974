"""Prefix beam search: labellings scored by the sum over their paths, and by what is known of the
language. The search itself is compiled: :mod:`asr.decoding.beam.search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.batches import decode_all
from asr.decoding.beam.phrases import Phrase, build_boosts
from asr.decoding.config import BeamOptions
from asr.decoding.stopping import Stop
from asr.tokens import BLANK, Tokenizer
from asr.types import Hypothesis

if TYPE_CHECKING:
    from torch import Tensor

    from asr.decoding.beam.language import Language
    from asr.decoding.beam.scoring import Boosts, Grammar, Options
    from asr.decoding.beam.token_stream import TokenInputs, TokenStream

__all__ = ["BeamDecoder", "prefix_beam_search"]


@dataclass(frozen=True)
class BeamDecoder:
    """Keeps the ``beam_width`` best prefixes after each frame.

    The acoustic score is the log-probability of the text, summed over the paths that survived, also
    those of labellings that differ from it only in spaces. A word is scored by a language model of
    words when it ends, and ranked before that by the most probable word it may become. Of the ways
    that subwords may spell a text, the one that scores best is given, with its own scores. The
    utterances of a batch are searched by as many threads as torch has.
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

    def begin(self, stop: Stop | None = None, *, first_frame: int = 0) -> TokenStream:
        """See :meth:`asr.decoding.Decoder.begin`."""
        from asr.decoding.beam.token_stream import TokenStream

        return TokenStream(
            self._inputs,
            self.options.nbest,
            self.tokenizer,
            self.seconds_per_frame,
            stop,
            first_frame,
        )

    def decode(
        self, log_probs: Tensor, lengths: Tensor, stop: Stop | None = None
    ) -> list[list[Hypothesis]]:
        """Return up to ``nbest`` hypotheses for each utterance of ``(B, T, V)``, best first.

        That of the best path is among them unless as many score higher: a narrow beam may lose it.

        Raises:
            DecodingError: see :func:`asr.decoding.inputs.checked`; or no text in words of the
                lexicon is possible.
            StoppedError: asked for by ``stop``.
        """

        def decode_one(frames: NDArray[np.float32]) -> list[Hypothesis]:
            return self.begin(stop).decode(frames)

        return decode_all(decode_one, log_probs, lengths, self.tokenizer.size)

    @cached_property
    def _inputs(self) -> TokenInputs:
        """What each search takes beside the frames."""
        from asr.decoding.beam.language import NOTHING, search_options

        grammar = self.language.grammar(self.options) if self.language else NOTHING
        options = search_options(self.options, self.tokenizer)
        if grammar.has_lexicon and self.options.unk_score is None and self.language:
            self.language.check_phrases(self.phrases)
        return _token_inputs(options, grammar, build_boosts(self.phrases, self.tokenizer))


def _token_inputs(options: Options, grammar: Grammar, boosts: Boosts) -> TokenInputs:
    from asr.decoding.beam.search import start_beam, start_tree
    from asr.decoding.beam.token_stream import TokenInputs

    return TokenInputs(options, grammar, boosts, start_beam(grammar, boosts), start_tree())


def prefix_beam_search(
    log_probs: NDArray[np.floating],
    beam_width: int,
    token_min_log_prob: float,
    stop: Stop | None = None,
    separator: int | None = None,
) -> list[tuple[tuple[int, ...], float]]:
    """Labellings of ``log_probs (T, V)`` and their log-probabilities, best first, of no language.

    With a ``separator`` of words, labellings that differ only in separators are one.

    Raises:
        StoppedError: asked for by ``stop``.
    """
    from asr.decoding.beam.language import NOTHING, search_options
    from asr.decoding.beam.token_stream import TokenSearch

    anonymous = Tokenizer([BLANK, *map(str, range(1, max(2, log_probs.shape[1])))], "phones")
    chosen = BeamOptions(token_min_log_prob=token_min_log_prob, beam_threshold=None)
    options = search_options(chosen, anonymous)
    options = options._replace(beam_width=beam_width)
    if separator is not None:
        options = options._replace(separator=separator)
    boosts = build_boosts((), anonymous)
    search = TokenSearch(_token_inputs(options, NOTHING, boosts))
    found = search.advance(log_probs, beam_width, stop or Stop(), ends=True)
    return [(labelling.labels, labelling.score) for labelling in found]
