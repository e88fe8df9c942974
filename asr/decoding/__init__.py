"""Log-probabilities in, hypotheses out: every decoder behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from asr.decoding.beam.decoder import BeamDecoder
from asr.decoding.beam.phrases import Phrase
from asr.decoding.config import NAMES, DecoderConfig
from asr.decoding.greedy import GreedyDecoder
from asr.decoding.prefix import PrefixDecoder
from asr.decoding.stopping import Stop, StoppedError
from asr.decoding.wfst.decoder import WfstDecoder
from asr.tokens import Tokenizer
from asr.types import DecodingError, Hypothesis

if TYPE_CHECKING:
    from asr.decoding.beam.language import Language

__all__ = [
    "DECODERS",
    "NAMES",
    "Decoder",
    "DecoderConfig",
    "Phrase",
    "Stop",
    "StoppedError",
    "make_decoder",
]


class Decoder(Protocol):
    """What every decoder does."""

    def decode(
        self, log_probs: Tensor, lengths: Tensor, stop: Stop | None = None
    ) -> list[list[Hypothesis]]:
        """Return hypotheses, best first, for each utterance of ``log_probs (B, T, V)``.

        Raises:
            StoppedError: another thread asked for it by ``stop``.
        """
        ...


DECODERS: dict[
    str, type[GreedyDecoder] | type[BeamDecoder] | type[PrefixDecoder] | type[WfstDecoder]
] = {
    "greedy": GreedyDecoder,
    "beam": BeamDecoder,
    "prefix": PrefixDecoder,
    "wfst": WfstDecoder,
}


def make_decoder(
    config: DecoderConfig,
    tokenizer: Tokenizer,
    seconds_per_frame: float,
    language: Language | None = None,
    phrases: Sequence[Phrase] = (),
) -> Decoder:
    """Return the decoder that ``config`` names, for one vocabulary and frame rate.

    Only beam search uses ``language`` and ``phrases``.

    Raises:
        DecodingError: there are phrases, and the decoder is another.
    """
    if config.name == "beam":
        return BeamDecoder(config, tokenizer, seconds_per_frame, language, tuple(phrases))
    if phrases:
        raise DecodingError(
            f"{config.name} decoding knows no phrases", remedy="choose the decoder beam"
        )
    return DECODERS[config.name](config, tokenizer, seconds_per_frame)
