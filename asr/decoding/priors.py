"""Priors of tokens: how probable a network finds each of them, whatever is said.

A network trained with CTC gives the probability of a token in a frame, ``p(k | x)``. That has
learnt how frequent the token is, the blank above all, and a language model says so a second time.
Divided by the prior, ``p(k | x) / p(k)`` is in proportion to ``p(x | k)``, how well the sound fits:
what a language model is made to be joined with (Bourlard & Morgan 1994, "Connectionist speech
recognition"; for CTC: Miao, Gowayyed & Metze 2015, "EESEN"). The blank is by far the
most frequent token, so that above all fewer words are passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asr.decoding.config import DecoderOptions
from asr.decoding.inputs import check_piece, fitting_lengths
from asr.decoding.interface import Decoder
from asr.decoding.stopping import Stop
from asr.decoding.stream import DecoderStream, Partial
from asr.tokens import BLANK_ID
from asr.types import ConfigError, Hypothesis

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HALF_LIFE", "HEARD", "Division", "PriorDecoder", "Priors", "sum_of_probabilities"]

SUM_TOLERANCE = 1e-3

# Of the model that ships, on development speech and noise: where the sum does not fade, noise
# reaches 1.3 in 3 s, and no word that it gets right has less than 2.4. Natural logarithms.
HEARD = 2.0
HALF_LIFE = 2.0  # seconds
MOST_AHEAD = 10.0  # of one frame


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
            ConfigError: there are none, or no frames in them.
        """
        sums, frames = None, 0
        for log_probs, lengths in batches:
            own = sum_of_probabilities(log_probs, lengths)
            sums = own if sums is None else sums + own
            frames += int(lengths.sum())
        if sums is None or not frames:
            raise ConfigError("there is no speech to take priors from", remedy="give recordings")
        return cls.of_sums(sums, frames)


def sum_of_probabilities(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """Of ``log_probs (B, T, V)`` the sum of each token's probabilities, float64 ``(V,)``."""
    utterances = zip(log_probs.detach(), lengths.tolist(), strict=True)
    parts = [frames[:count].double().exp().sum(0) for frames, count in utterances]
    return sum(parts, log_probs.new_zeros(log_probs.shape[2]).double())


@dataclass(frozen=True)
class Division:
    """Divides priors out of log-probabilities, where somebody speaks.

    Priors are those of speech. In noise the network finds the blank more probable still, with
    reason: divided by its prior, it would leave words to be heard. So frames are left as they are
    until the best tokens were ahead of the blank by :data:`HEARD` in sum, of which the sum forgets
    half every :data:`HALF_LIFE` seconds.

    Attributes:
        priors: of the tokens.
        weight: how far they are divided out: to this power.
        quiet: tokens that say no more than the blank, beside it.
        seconds_per_frame: from one row of log-probabilities to the next.
    """

    priors: Priors
    weight: float
    quiet: tuple[int, ...]
    seconds_per_frame: float

    def __call__(self, frames: Tensor, heard: float = 0.0) -> tuple[Tensor, float]:
        """``frames (T, V)``, divided where somebody speaks, each summing to 1 again; and the sum.

        ``heard`` is the sum after the frames before.
        """
        logs = frames.detach().float()
        silence = logs[:, [BLANK_ID, *self.quiet]].amax(dim=1)
        ahead = (logs.amax(dim=1) - silence).clamp(max=MOST_AHEAD).tolist()
        fade = 0.5 ** (self.seconds_per_frame / HALF_LIFE)
        speaks = []
        for each in ahead:
            heard = fade * heard + each
            speaks.append([heard >= HEARD])
        divided = (logs - self.weight * logs.new_tensor(self.priors.log_priors)).log_softmax(-1)
        rows = logs.new_tensor(speaks).reshape(-1, 1).bool()  # (T, 1)
        return divided.where(rows, logs), heard


class PriorDecoder:
    """A decoder that is given log-probabilities with the priors divided out."""

    def __init__(self, decoder: Decoder, division: Division) -> None:
        self._decoder = decoder
        self._division = division

    @property
    def options(self) -> DecoderOptions:
        """The decoder's."""
        return self._decoder.options

    def begin(self, stop: Stop | None = None, *, first_frame: int = 0) -> PriorStream:
        """As :meth:`asr.decoding.Decoder.begin`."""
        return PriorStream(self._decoder.begin(stop, first_frame=first_frame), self._division)

    def decode(
        self, log_probs: Tensor, lengths: Tensor, stop: Stop | None = None
    ) -> list[list[Hypothesis]]:
        """As :meth:`asr.decoding.Decoder.decode`."""
        counts = fitting_lengths(log_probs, lengths, len(self._division.priors.log_priors))
        divided = log_probs.detach().float().clone()
        for frames, count in zip(divided, counts, strict=True):
            frames[:count] = self._division(frames[:count])[0]
        return self._decoder.decode(divided, lengths, stop)


class PriorStream:
    """A decoder's stream that is given log-probabilities with the priors divided out."""

    def __init__(self, stream: DecoderStream, division: Division) -> None:
        self._stream = stream
        self._division = division
        self._heard = 0.0

    def push(self, log_probs: Tensor, *, words: bool = False) -> Partial:
        """As :meth:`asr.decoding.DecoderStream.push`."""
        check_piece(log_probs, len(self._division.priors.log_priors))
        divided, heard = self._division(log_probs, self._heard)
        partial = self._stream.push(divided, words=words)
        self._heard = heard  # not before the stream has taken the piece
        return partial

    def finish(self) -> list[Hypothesis]:
        """As :meth:`asr.decoding.DecoderStream.finish`."""
        return self._stream.finish()
