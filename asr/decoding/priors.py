"""Priors of tokens: how probable a network finds each of them, whatever is said.

A network trained with CTC gives the probability of a token in a frame, ``p(k | x)``. That has
learnt how frequent the token is, the blank above all, and a language model says so a second time.
Divided by the prior, ``p(k | x) / p(k)`` is in proportion to ``p(x | k)``, how well the sound fits:
what a language model is made to be joined with (Bourlard & Morgan 1994, "Connectionist speech
recognition"; for CTC: Miao, Gowayyed & Metze 2015, "EESEN", section 4). The blank is by far the
most frequent token, so that above all fewer words are passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asr.decoding.stopping import Stop
from asr.decoding.stream import DecoderStream, Partial
from asr.types import ConfigError, Hypothesis

if TYPE_CHECKING:
    from torch import Tensor

    from asr.decoding import Decoder, DecoderOptions

__all__ = ["PriorDecoder", "Priors"]

SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Priors:
    """The mean probability of each token over all frames of some speech.

    Attributes:
        log_priors: natural logarithms, ``(V,)``, of probabilities that sum to 1.
    """

    log_priors: tuple[float, ...]

    def __post_init__(self) -> None:
        values = self.log_priors
        if not values or not all(
            isinstance(value, (int, float)) and not isinstance(value, bool) and -1e3 < value <= 0
            for value in values
        ):
            raise ConfigError(
                "priors of tokens are natural logarithms of probabilities above 0",
                remedy="give one for each token",
            )
        total = math.fsum(map(math.exp, values))
        if abs(total - 1) > SUM_TOLERANCE:
            raise ConfigError(f"priors of tokens sum to {total:g}", remedy="they have to sum to 1")
        object.__setattr__(self, "log_priors", tuple(map(float, values)))

    @classmethod
    def of_sums(cls, sums: Tensor, frames: float) -> Priors:
        """From the sums of probabilities over so many frames, ``(V,)``.

        Each token counts one frame more: one that was never probable is rare, not impossible.

        Raises:
            ConfigError: a sum is not a number.
        """
        logs = ((sums.double() + 1) / (frames + len(sums))).log()
        return cls(tuple(logs.log_softmax(0).tolist()))

    @classmethod
    def of_speech(cls, batches: Iterable[tuple[Tensor, Tensor]]) -> Priors:
        """From log-probabilities ``(B, T, V)`` and lengths ``(B,)``.

        Raises:
            ConfigError: there are none.
        """
        sums, frames = None, 0
        for log_probs, lengths in batches:
            own = sum_of_probabilities(log_probs, lengths)
            sums = own if sums is None else sums + own
            frames += int(lengths.sum())
        if sums is None:
            raise ConfigError("there is no speech to take priors from", remedy="give recordings")
        return cls.of_sums(sums, frames)

    def divided_out(self, log_probs: Tensor, weight: float) -> Tensor:
        """``log_probs (..., V)`` less ``weight`` times the priors, each frame summing to 1 again.

        Frames of another size are returned as they are: the decoder refuses them.
        """
        if log_probs.shape[-1:] != (len(self.log_priors),):
            return log_probs
        logs = log_probs.detach().float()
        return (logs - weight * logs.new_tensor(self.log_priors)).log_softmax(-1)


def sum_of_probabilities(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """Of ``log_probs (B, T, V)`` the sum of each token's probabilities, float64 ``(V,)``."""
    utterances = zip(log_probs.detach(), lengths.tolist(), strict=True)
    parts = [frames[:count].double().exp().sum(0) for frames, count in utterances]
    return sum(parts, log_probs.new_zeros(log_probs.shape[2]).double())


class PriorDecoder:
    """A decoder that is given log-probabilities with the priors divided out."""

    def __init__(self, decoder: Decoder, priors: Priors, weight: float) -> None:
        self._decoder = decoder
        self._priors = priors
        self._weight = weight

    @property
    def options(self) -> DecoderOptions:
        """The decoder's."""
        return self._decoder.options

    def begin(self, stop: Stop | None = None, *, first_frame: int = 0) -> PriorStream:
        """As :meth:`asr.decoding.Decoder.begin`."""
        stream = self._decoder.begin(stop, first_frame=first_frame)
        return PriorStream(stream, self._priors, self._weight)

    def decode(
        self, log_probs: Tensor, lengths: Tensor, stop: Stop | None = None
    ) -> list[list[Hypothesis]]:
        """As :meth:`asr.decoding.Decoder.decode`."""
        return self._decoder.decode(
            self._priors.divided_out(log_probs, self._weight), lengths, stop
        )


class PriorStream:
    """A decoder's stream that is given log-probabilities with the priors divided out."""

    def __init__(self, stream: DecoderStream, priors: Priors, weight: float) -> None:
        self._stream = stream
        self._priors = priors
        self._weight = weight

    def push(self, log_probs: Tensor, *, words: bool = False) -> Partial:
        """As :meth:`asr.decoding.DecoderStream.push`."""
        return self._stream.push(self._priors.divided_out(log_probs, self._weight), words=words)

    def finish(self) -> list[Hypothesis]:
        """As :meth:`asr.decoding.DecoderStream.finish`."""
        return self._stream.finish()
