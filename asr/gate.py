"""Audio that holds no words: told by its level before it is recognised, or by a doubtful result.

CTC is trained on speech, so a model may find letters in hum, music and silence. Digital silence is
told from speech without doubt; anything else is a choice, and off by default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asr.types import ConfigError, Hypothesis

__all__ = ["NO_WORDS", "Gate", "loudest_level"]

WINDOW_SECONDS = 0.05  # about a vowel; the loudest one stands for the recording
NO_WORDS = Hypothesis("", 0.0, 1.0)


@dataclass(frozen=True)
class Gate:
    """When audio is taken to hold no words. Samples that are all equal always are.

    Attributes:
        min_level: below this level, in decibels, of its loudest 50 ms (:func:`loudest_level`) audio
            is silence. The default takes nothing else for silence.
        min_confidence: a result whose best hypothesis is less sure is replaced by an empty one.
    """

    min_level: float = -math.inf
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        if not self.min_level <= 0.0:  # false for NaN too
            raise ConfigError(
                f"the silence gate is {self.min_level:g} dB", remedy="give a level below 0, or none"
            )
        if not 0.0 <= self.min_confidence <= 1.0:
            raise ConfigError(
                f"the least confidence is {self.min_confidence:g}", remedy="give 0 to 1"
            )

    def is_silent(self, samples: NDArray[np.float32], sample_rate: int) -> bool:
        """Whether ``samples (N,)``, at least one, hold nothing to recognise."""
        if samples.max() == samples.min():
            return True
        if self.min_level == -math.inf:
            return False
        return loudest_level(samples, sample_rate) < self.min_level

    def keep(self, hypotheses: Sequence[Hypothesis], seconds: float) -> tuple[Hypothesis, ...]:
        """``hypotheses``, best first, of audio of so many seconds, or an empty one as sure as the
        best was."""
        best = hypotheses[0]
        if best.confidence >= self.min_confidence:
            return tuple(hypothesis.within(seconds) for hypothesis in hypotheses)
        return (replace(best, text="", tokens=(), words=()),)


def loudest_level(samples: NDArray[np.float32], sample_rate: int) -> float:
    """The level of the loudest 50 ms of ``samples (N,)`` in decibels.

    It is the root mean square about the window's mean, where 0 dB is 1: a sine of full scale has
    -3 dB. Shorter audio is one window; none is as quiet as can be.
    """
    if not len(samples):
        return -math.inf
    size = min(max(round(WINDOW_SECONDS * sample_rate), 1), len(samples))
    whole = len(samples) // size * size
    last = np.var(samples[-size:], dtype=np.float64)
    others = np.var(samples[:whole].reshape(-1, size), axis=1, dtype=np.float64)
    power = float(max(last, others.max()))
    return 10 * math.log10(power) if power > 0 else -math.inf
