"""Beam search over words said by a lexicon. The search itself is compiled:
:mod:`asr.decoding.beam.word_search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.batches import decode_all
from asr.decoding.beam.phrases import Phrase, build_word_boosts
from asr.decoding.config import BeamOptions
from asr.decoding.stopping import Stop
from asr.tokens import Tokenizer
from asr.types import DecodingError, Hypothesis

if TYPE_CHECKING:
    from torch import Tensor

    from asr.decoding.beam.language import Language
    from asr.decoding.beam.tables import Records
    from asr.decoding.beam.word_stream import WordInputs, WordStream

__all__ = ["WordDecoder"]


@dataclass(frozen=True)
class WordDecoder:
    """Keeps the ``beam_width`` best beginnings of word sequences after each frame.

    The acoustic score is the log-probability of the words, summed over the paths that survived and
    over all ways to say them. Words that are said alike are different hypotheses. The utterances of
    a batch are searched by as many threads as torch has.
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
                remedy="set token_score to 0 and use word_score",
            )
        _ = self._inputs

    def begin(self, stop: Stop | None = None, *, first_frame: int = 0) -> WordStream:
        """See :meth:`asr.decoding.Decoder.begin`."""
        from asr.decoding.beam.word_stream import WordStream

        return WordStream(
            self._inputs,
            self.options.nbest,
            self.language,
            self.tokenizer,
            self.seconds_per_frame,
            stop,
            first_frame,
            self._caches,
        )

    def decode(
        self, log_probs: Tensor, lengths: Tensor, stop: Stop | None = None
    ) -> list[list[Hypothesis]]:
        """Return up to ``nbest`` hypotheses for each utterance of ``(B, T, V)``, best first.

        The best one that the best path says is among them unless as many score higher.

        Raises:
            DecodingError: see :func:`asr.decoding.inputs.checked`; or no words of the lexicon are
                possible.
            StoppedError: asked for by ``stop``.
        """

        def decode_one(frames: NDArray[np.float32]) -> list[Hypothesis]:
            return self.begin(stop).decode(frames)

        return decode_all(decode_one, log_probs, lengths, self.tokenizer.size)

    @cached_property
    def _inputs(self) -> WordInputs:
        """What each search takes beside the frames."""
        from asr.decoding.beam.language import search_options
        from asr.decoding.beam.word_histories import start_histories, start_places
        from asr.decoding.beam.word_search import start_word_beam
        from asr.decoding.beam.word_stream import WordInputs

        grammar = self.language.words(self.options)
        return WordInputs(
            search_options(self.options, self.tokenizer, has_words=True),
            grammar,
            build_word_boosts(self.phrases, self.language.closed, grammar.tree),
            start_word_beam(grammar),
            start_histories(),
            start_places(),
        )

    @cached_property
    def _caches(self) -> list[Records]:
        """What the language model said in earlier searches; one for each that runs at a time."""
        return []
