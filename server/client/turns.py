"""Channels that were transcribed each by itself, as one conversation in the order of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from server.client.errors import ClientError
from server.client.results import Hypothesis, Transcription, Word, read_result
from server.pb.v1 import speech_pb2 as pb

__all__ = ["Turn", "merged", "read_results", "turns_of"]

# So long a silence of its channel ends a turn; where another begins to speak meanwhile, any does.
TURN_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Turn:
    """What one channel said in a row, ``start`` to ``end`` in seconds; ``channel`` is from 1."""

    channel: int
    text: str
    words: tuple[Word, ...]
    start: float
    end: float


def turns_of(channels: Sequence[Transcription]) -> list[Turn]:
    """What was said by turns, in the order in which they begin.

    Words with times tell them; without them each channel is one turn, in their order. A channel
    without words has none.
    """
    starts = {part.channel: [word.start for word in part.hypotheses[0].words] for part in channels}
    turns = []
    for part in channels:
        others = sorted(start for tag in starts if tag != part.channel for start in starts[tag])
        turns += list(_turns(part, others))
    return sorted(turns, key=lambda turn: turn.start)


def read_results(results: Iterable[pb.SpeechRecognitionResult]) -> Transcription:
    """What an answer holds: the one part of it, or all channels as one.

    Raises:
        ClientError: it holds nothing.
    """
    parts = [read_result(result) for result in results]
    if not parts:
        raise ClientError("the server answered without a result")
    return merged(parts) if parts[0].channel else parts[0]


def merged(channels: Sequence[Transcription]) -> Transcription:
    """One transcription of all ``channels``, which it keeps. Its text has a line a turn."""
    turns = turns_of(channels)
    words = sorted((word for turn in turns for word in turn.words), key=lambda word: word.start)
    best = Hypothesis(
        text="\n".join(turn.text for turn in turns),
        score=sum(part.hypotheses[0].score for part in channels),
        confidence=min(part.hypotheses[0].confidence for part in channels),
        words=tuple(words),
    )
    duration = max(part.duration for part in channels)
    return Transcription((best,), duration, channels=tuple(channels))


def _turns(part: Transcription, others: Sequence[float]) -> Iterator[Turn]:
    """The turns of one channel; ``others`` are the times at which others begin a word."""
    best = part.hypotheses[0]
    if not best.words:
        if best.text:
            yield Turn(part.channel, best.text, (), 0.0, part.duration)
        return
    group = [best.words[0]]
    for word in best.words[1:]:
        pause = (group[-1].end, word.start)
        if pause[1] - pause[0] > TURN_PAUSE_SECONDS or any(
            pause[0] <= start < pause[1] for start in others
        ):
            yield _turn(part.channel, group)
            group = []
        group.append(word)
    yield _turn(part.channel, group)


def _turn(channel: int, words: Sequence[Word]) -> Turn:
    text = " ".join(word.text for word in words)
    return Turn(channel, text, tuple(words), words[0].start, words[-1].end)
