"""Confidences that mean something: of words said with 0.9, about nine in ten are right.

A network trained with CTC is surer than it is right. Two numbers, found on recordings that it was
not trained on, mend that (Platt 1999, "Probabilistic outputs for support vector machines"; Guo et
al. 2017, "On calibration of modern neural networks").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from asr.options import from_values
from asr.types import ConfigError, Hypothesis, TimedToken, Word

if TYPE_CHECKING:
    from torch import Tensor

    from asr.decoding import Decoder, DecoderOptions, DecoderStream, Partial, Stop

__all__ = ["CalibratedDecoder", "Calibration", "fit_calibration", "read_calibrations"]

EDGE = 1e-6  # confidences of 0 and 1 have no finite log-odds
MAX_STEPS = 100
RIDGE = 1e-3  # keeps the fit finite where right and wrong can be told apart in full

MOST = 1e6  # of slope and offset
Timed = TypeVar("Timed", TimedToken, Word)


@dataclass(frozen=True)
class Calibration:
    """Straightens a decoder's confidences: log-odds become ``slope * log-odds + offset``.

    Attributes:
        slope: above 0, so that the order of confidences stays.
        offset: natural logarithm.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        for name in ("slope", "offset"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigError(f"the calibration's {name} is {value!r}", remedy="give a number")
        if not (0.0 < self.slope < MOST and -MOST < self.offset < MOST):
            raise ConfigError(
                f"a calibration with slope {self.slope} and offset {self.offset}"[:100],
                remedy="give a slope above 0 and an offset, both of usual size",
            )

    def __call__(self, confidence: float) -> float:
        """The calibrated confidence, in [0, 1]."""
        log_odds = self.slope * float(_log_odds(np.array([confidence]))[0]) + self.offset
        return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0

    def apply(self, hypothesis: Hypothesis) -> Hypothesis:
        """The same with calibrated words, or tokens where the vocabulary has no words.

        The confidence in the whole becomes the mean of theirs: the share that is likely right. A
        hypothesis without words keeps its own.
        """
        if hypothesis.words:
            words = tuple(self.adjust(word) for word in hypothesis.words)
            return replace(hypothesis, words=words, confidence=_mean(words))
        if hypothesis.tokens:
            tokens = tuple(self.adjust(token) for token in hypothesis.tokens)
            return replace(hypothesis, tokens=tokens, confidence=_mean(tokens))
        return hypothesis

    def adjust(self, timed: Timed) -> Timed:
        """The same word or token with calibrated confidence."""
        return replace(timed, confidence=self(timed.confidence))


def _mean(parts: Sequence[Timed]) -> float:
    return math.fsum(part.confidence for part in parts) / len(parts)


def fit_calibration(confidences: Sequence[float], right: Sequence[bool]) -> Calibration:
    """The calibration under which ``right`` is most probable, by Newton's method.

    Args:
        confidences: in words (or tokens) that a decoder found, in [0, 1].
        right: of each, whether it was said.

    Raises:
        ConfigError: there are none, all are right or all wrong, or they are not one for one, in
            [0, 1].
    """
    if len(confidences) != len(right) or not all(0.0 <= each <= 1.0 for each in confidences):
        raise ConfigError(
            f"{len(confidences)} confidences of {len(right)} words are not one for one, in [0, 1]",
            remedy="give each word's, as the decoder found it",
        )
    if not 0 < sum(right) < len(right):
        raise ConfigError(
            f"{sum(right)} of {len(right)} words are right: confidence cannot be learned from that",
            remedy="give more recordings, that the model was not trained on",
        )
    x = np.stack([_log_odds(np.asarray(confidences)), np.ones(len(right))], axis=1)  # (N, 2)
    y = np.asarray(right, dtype=np.float64)
    prior = np.array([1.0, 0.0])  # a calibration that changes nothing
    weights = prior.copy()
    for _ in range(MAX_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -500, 500)))
        gradient = x.T @ (p - y) / len(y) + RIDGE * (weights - prior)
        curvature = (x.T * (p * (1 - p))) @ x / len(y) + RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    return Calibration(max(float(weights[0]), 1e-3), float(weights[1]))


def _log_odds(confidences: NDArray[Any]) -> NDArray[np.float64]:
    p = np.clip(confidences.astype(np.float64), EDGE, 1 - EDGE)
    return np.log(p) - np.log1p(-p)


class CalibratedDecoder:
    """A decoder whose confidences are calibrated; all else is the decoder's own."""

    def __init__(self, decoder: Decoder, calibration: Calibration) -> None:
        self._decoder = decoder
        self._calibration = calibration

    @property
    def options(self) -> DecoderOptions:
        """The decoder's."""
        return self._decoder.options

    def begin(self, stop: Stop | None = None, *, first_frame: int = 0) -> CalibratedStream:
        """As :meth:`asr.decoding.Decoder.begin`."""
        return CalibratedStream(
            self._decoder.begin(stop, first_frame=first_frame), self._calibration
        )

    def decode(
        self, log_probs: Tensor, lengths: Tensor, stop: Stop | None = None
    ) -> list[list[Hypothesis]]:
        """As :meth:`asr.decoding.Decoder.decode`."""
        return [
            [self._calibration.apply(hypothesis) for hypothesis in nbest]
            for nbest in self._decoder.decode(log_probs, lengths, stop)
        ]


class CalibratedStream:
    """A decoder's stream whose confidences are calibrated."""

    def __init__(self, stream: DecoderStream, calibration: Calibration) -> None:
        self._stream = stream
        self._calibration = calibration

    def push(self, log_probs: Tensor, *, words: bool = False) -> Partial:
        """As :meth:`asr.decoding.DecoderStream.push`."""
        partial = self._stream.push(log_probs, words=words)
        return replace(partial, words=tuple(map(self._calibration.adjust, partial.words)))

    def finish(self) -> list[Hypothesis]:
        """As :meth:`asr.decoding.DecoderStream.finish`."""
        return [self._calibration.apply(hypothesis) for hypothesis in self._stream.finish()]


def read_calibrations(values: Mapping[str, Any]) -> dict[str, Calibration]:
    """Calibrations by decoder, from their JSON values.

    Raises:
        ConfigError: these are no such values.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"calibrations are {values!r}", remedy="give slope and offset by decoder")
    return {
        str(name): from_values(Calibration, own, f"calibration of {name}", ConfigError)
        for name, own in values.items()
    }
