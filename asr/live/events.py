"""What a live stream is asked for, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from asr.live.endpoint import EndpointOptions, Reason
from asr.types import Hypothesis, Word

__all__ = ["Event", "Final", "Interim", "LiveOptions"]


@dataclass(frozen=True)
class LiveOptions:
    """What a client asks of one stream. It does not change while the stream lasts.

    Attributes:
        endpoint: where segments end.
        single_utterance: the first final result is the last: audio after it is passed over.
        interim_words: interim results have words with times, which takes more time.
    """

    endpoint: EndpointOptions = field(default_factory=EndpointOptions)
    single_utterance: bool = False
    interim_words: bool = False


@dataclass(frozen=True)
class Interim:
    """What a segment says so far: given whenever that changes.

    Attributes:
        text: of the hypothesis that is the best by now.
        stable: its beginning, which no later event of this segment takes back.
        stability: how likely the rest of the text stays as it is, from 0 to 1.
        words: of ``text``, if they were asked for. Times are in seconds from the beginning of the
            stream.
        stable_words: how many of ``words`` are in ``stable``.
        start, end: of the audio that this is about, in seconds from the beginning of the stream.
    """

    text: str
    stable: str
    stability: float
    words: tuple[Word, ...]
    stable_words: int
    start: float
    end: float


@dataclass(frozen=True)
class Final:
    """What a segment said.

    Attributes:
        hypotheses: best first, never empty; the text may be. Times are in seconds from the
            beginning of the stream.
        start, end: of the segment, in seconds from the beginning of the stream. The next begins
            where it ends.
        reason: why it ended: by ``"rule1"``, ``"rule2"`` or ``"rule3"`` of
            :class:`asr.live.EndpointOptions`, ``"forced"`` by the client, or ``"finished"`` with
            the stream.
    """

    hypotheses: tuple[Hypothesis, ...]
    start: float
    end: float
    reason: Reason

    @property
    def text(self) -> str:
        """The text of the best hypothesis."""
        return self.hypotheses[0].text


Event = Interim | Final
