"""Where the segments of a stream end: rules on trailing silence, as Kaldi and sherpa name them.

Whether a frame is silent is told by the network (its best token is the blank, or the space between
words) and by its level (it is not much louder than the noise of the last seconds). The rules are
those of Kaldi's ``online-endpoint.h``, with the defaults of sherpa's transducers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from asr.tokens import BLANK_ID
from asr.types import ConfigError

__all__ = ["Endpoint", "EndpointOptions", "EndpointRule", "Endpointer", "Reason"]

# Why a segment ended: by a rule, by the client's word, or because the stream did.
Reason = Literal["rule1", "rule2", "rule3", "forced", "finished"]

LONGEST_SECONDS = 600.0  # that an option may ask for
LONGEST_UTTERANCE = 60.0  # a longer segment than that is never waited for
GRACE_SECONDS = 2.0  # for which a segment that is too long may wait for a place between words
PAUSE_SECONDS = 0.2  # that is such a place at first; then less and less, down to one frame
RISE_DB = 6.0  # a second, of the noise floor: slower than speech is loud without a dip
LOWEST_DB = -90.0  # of the noise floor; 16 bits hold nothing below


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


@dataclass(frozen=True)
class EndpointRule:
    """A segment ends where all of this is so. Times are in seconds.

    Attributes:
        must_contain_nonsilence: something was said in the segment.
        min_trailing_silence: so long has been silent up to now.
        min_utterance_length: so long is the segment, its silences counted.
    """

    must_contain_nonsilence: bool = False
    min_trailing_silence: float = 0.0
    min_utterance_length: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.must_contain_nonsilence, bool):
            raise ConfigError(
                f"must_contain_nonsilence is {self.must_contain_nonsilence!r}",
                remedy="give true or false",
            )
        for name in ("min_trailing_silence", "min_utterance_length"):
            value = getattr(self, name)
            if not _is_number(value) or not 0.0 <= value <= LONGEST_SECONDS:
                raise ConfigError(
                    f"{name} of an endpoint rule is {value!r}",
                    remedy=f"give seconds from 0 to {LONGEST_SECONDS:g}",
                )
        if self.min_trailing_silence == self.min_utterance_length == 0.0:
            raise ConfigError(
                "an endpoint rule asks for no time at all: every frame would end a segment",
                remedy="give min_trailing_silence or min_utterance_length above 0",
            )


@dataclass(frozen=True)
class EndpointOptions:
    """The rules of one stream: its segments end where the first of them holds.

    Attributes:
        rule1: silence with nothing said. Nothing is answered for such a segment.
        rule2: silence after words.
        rule3: the segment is too long; it ends at a space or in a pause if there is one within 2 s.
            The pause is to have 0.2 s at first, as sounds like P and T begin with silence as well,
            and the less the longer the segment waits.
        speech_margin_db: a frame this much louder than the noise is no silence, whatever the
            network says: a vowel is drawn out, or someone hesitates. Infinite: the network decides
            alone.
    """

    rule1: EndpointRule = EndpointRule(False, 2.4, 0.0)
    rule2: EndpointRule = EndpointRule(True, 1.2, 0.0)
    rule3: EndpointRule = EndpointRule(False, 0.0, 20.0)
    speech_margin_db: float = 15.0

    def __post_init__(self) -> None:
        for name in ("rule1", "rule2", "rule3"):
            if not isinstance(getattr(self, name), EndpointRule):
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}", remedy="give an endpoint rule"
                )
        if not 0.0 < self.rule3.min_utterance_length <= LONGEST_UTTERANCE:
            raise ConfigError(
                f"rule3 ends segments after {self.rule3.min_utterance_length:g} s",
                remedy="give a min_utterance_length above 0, and of "
                f"{LONGEST_UTTERANCE:g} s at most",
            )
        if not _is_number(self.speech_margin_db) or not self.speech_margin_db > 0.0:
            raise ConfigError(
                f"speech_margin_db is {self.speech_margin_db!r}",
                remedy="give decibels above 0, or infinity",
            )


@dataclass(frozen=True)
class Endpoint:
    """A segment ended: it has frames up to, and without, ``frame`` of those just given."""

    frame: int
    reason: Reason
    has_words: bool


class Endpointer:
    """Finds the endpoints of one stream, frame by frame: the pieces that frames come in are of no
    matter.

    Args:
        options: the rules.
        seconds_per_frame: of the log-probabilities.
        silences: tokens that say nothing, beside the blank: the space between words.
    """

    def __init__(
        self, options: EndpointOptions, seconds_per_frame: float, silences: Sequence[int] = ()
    ) -> None:
        self.options = options
        self._seconds = seconds_per_frame
        self._silences = np.array([BLANK_ID, *silences])
        self._spaces = np.array(silences, dtype=np.int64)
        self._floor = math.inf
        self.restart()

    def restart(self) -> None:
        """A segment begins with the next frame. What is known of the noise is kept."""
        self.frames = 0  # of the segment
        self._trailing = 0  # silent ones at its end
        self.has_words = False

    def push(self, log_probs: NDArray[np.float32], levels: NDArray[np.float64]) -> Endpoint | None:
        """Look at frames up to the first endpoint; a segment begins after it.

        Args:
            log_probs: ``(T, V)``.
            levels: of the audio of each frame in decibels ``(T,)``, -inf for digital silence.

        Returns:
            where the segment ends; None: not in these frames.
        """
        best = log_probs.argmax(axis=1)
        is_quiet = np.isin(best, self._silences)
        is_space = np.isin(best, self._spaces)
        for frame, level in enumerate(levels.tolist()):
            is_loud = self._is_loud(level)
            self.frames += 1
            self.has_words |= not is_quiet[frame]
            self._trailing = self._trailing + 1 if is_quiet[frame] and not is_loud else 0
            reason = self._reason(is_space=bool(is_space[frame]))
            if reason is not None:
                endpoint = Endpoint(frame + 1, reason, self.has_words)
                self.restart()
                return endpoint
        return None

    def _is_loud(self, level: float) -> bool:
        """Whether a frame stands out of the noise, whose floor falls at once and rises slowly."""
        level = max(level, LOWEST_DB)
        self._floor = min(level, self._floor + RISE_DB * self._seconds)
        return level > self._floor + self.options.speech_margin_db

    def _reason(self, is_space: bool) -> Reason | None:
        if self._holds(self.options.rule2):
            return "rule2"
        if self._holds(self.options.rule1):
            return "rule1"
        if self._holds(self.options.rule3):
            late = self._time(self.frames) - self.options.rule3.min_utterance_length
            pause = PAUSE_SECONDS * (1.0 - late / GRACE_SECONDS)
            if is_space or self._time(self._trailing) >= pause:  # none is needed in the end
                return "rule3"
        return None

    def _holds(self, rule: EndpointRule) -> bool:
        return (
            (self.has_words or not rule.must_contain_nonsilence)
            and self._time(self._trailing) >= rule.min_trailing_silence
            and self._time(self.frames) >= rule.min_utterance_length
        )

    def _time(self, frames: int) -> float:
        # To the microsecond: 0.04 * 30 is to be 1.2.
        return round(frames * self._seconds, 6)
