"""Log-probabilities in, hypotheses out: every decoder behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from asr.decoding.beam.decoder import BeamDecoder
from asr.decoding.beam.phrases import Phrase
from asr.decoding.beam.word_decoder import WordDecoder
from asr.decoding.choice import choose_options
from asr.decoding.config import (
    NAMES,
    BeamOptions,
    DecoderOptions,
    GreedyOptions,
    PrefixOptions,
    WfstOptions,
    plain_values,
    read_options,
)
from asr.decoding.greedy import GreedyDecoder
from asr.decoding.interface import Decoder
from asr.decoding.prefix import PrefixDecoder
from asr.decoding.priors import Division, PriorDecoder, Priors
from asr.decoding.spans import quiet_tokens
from asr.decoding.stopping import Stop, StoppedError
from asr.decoding.stream import DecoderStream, Partial
from asr.decoding.wfst.decoder import WfstDecoder
from asr.tokens import Tokenizer
from asr.types import DecodingError

if TYPE_CHECKING:
    from asr.decoding.beam.language import Language

__all__ = [
    "NAMES",
    "BeamOptions",
    "Decoder",
    "DecoderOptions",
    "DecoderStream",
    "GreedyOptions",
    "Partial",
    "Phrase",
    "PrefixOptions",
    "Priors",
    "Stop",
    "StoppedError",
    "WfstOptions",
    "choose_options",
    "make_decoder",
    "plain_values",
    "read_options",
]


def make_decoder(
    options: DecoderOptions,
    tokenizer: Tokenizer,
    seconds_per_frame: float,
    language: Language | None = None,
    phrases: Sequence[Phrase] = (),
    priors: Priors | None = None,
) -> Decoder:
    """Return the decoder that ``options`` are for, ready for one vocabulary and frame rate.

    Only beam search uses ``language`` and ``phrases``; ``priors`` are for a ``prior_weight`` above
    0. Whatever cannot be used is refused here, before there is audio to decode. Any number of
    threads may decode at once.

    Raises:
        DecodingError: there are phrases, and the decoder is another; one cannot be spelled, or has
            words that the lexicon refuses; there is a weight for priors, and there are none; or an
            option does not fit the vocabulary.
        ConfigError, GraphError: the decoding graph cannot be used.
    """
    decoder = _searching(options, tokenizer, seconds_per_frame, language, phrases)
    weight = options.prior_weight
    if not weight:
        return decoder
    if priors is None:
        raise DecodingError(
            f"prior_weight is {weight:g}, and the model knows no priors of its tokens",
            remedy="leave it out, or let `asr tune` find priors and the weight",
        )
    if len(priors.log_priors) != tokenizer.size:
        raise DecodingError(
            f"there are {len(priors.log_priors)} priors, and {tokenizer.size} tokens",
            remedy="give those of this model",
        )
    quiet = tuple(quiet_tokens(tokenizer))
    return PriorDecoder(decoder, Division(priors, weight, quiet, seconds_per_frame))


def _searching(
    options: DecoderOptions,
    tokenizer: Tokenizer,
    seconds_per_frame: float,
    language: Language | None,
    phrases: Sequence[Phrase],
) -> Decoder:
    """The decoder of ``options``, for log-probabilities as they are to be used.

    Raises:
        DecodingError, ConfigError, GraphError: see :func:`make_decoder`.
    """
    if isinstance(options, BeamOptions) and language is not None and language.says_words:
        return WordDecoder(options, tokenizer, seconds_per_frame, language, tuple(phrases))
    if isinstance(options, BeamOptions):
        return BeamDecoder(options, tokenizer, seconds_per_frame, language, tuple(phrases))
    if phrases:
        raise DecodingError(
            f"{options.name} decoding knows no phrases", remedy="choose the decoder beam"
        )
    if isinstance(options, WfstOptions):
        return WfstDecoder(options, tokenizer, seconds_per_frame)
    if isinstance(options, PrefixOptions):
        return PrefixDecoder(options, tokenizer, seconds_per_frame)
    return GreedyDecoder(options, tokenizer, seconds_per_frame)
