"""How results are told by a WebSocket: as vosk-server does, or in full."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from server.client import Hypothesis, LiveResult, StreamStarted, Word
from server.http.wishes import Wishes
from server.timeout import within

__all__ = ["Form", "Native", "Vosk"]

Send = Callable[[dict[str, Any]], Awaitable[None]]

# A client that sends faster than this many times as fast as it is spoken is held back a little, so
# that what it is answered is about what it has sent.
MOST_SPEED = 10.0


class Form(Protocol):
    """What is sent, and when."""

    async def begun(self, started: StreamStarted) -> None:
        """The server has taken the stream up."""

    async def said(self, result: LiveResult) -> None:
        """The server has said something."""

    async def taken(self, seconds: float) -> None:
        """A message with so much audio was handed on."""

    async def ended(self) -> None:
        """All has been said."""


class Vosk:
    """The messages of vosk-server: one for each message with audio, and one at the end.

    A message with audio is answered with the next segment's result if there is one, else with the
    segment's text so far. The last answer has all results that are left.
    """

    def __init__(self, send: Send, wishes: Wishes) -> None:
        self._send = send
        self._wishes = wishes
        self._partial = ""
        self._finals: deque[LiveResult] = deque()
        self._news = asyncio.Event()

    async def begun(self, started: StreamStarted) -> None:
        """Nothing is told of it."""

    async def said(self, result: LiveResult) -> None:
        """Keep it until it is asked for."""
        if result.is_final and result.text:
            self._finals.append(result)
        self._partial = "" if result.is_final else result.text
        self._news.set()

    async def taken(self, seconds: float) -> None:
        """Answer, with news if they come soon."""
        if not self._finals and seconds > 0:
            with suppress(asyncio.TimeoutError):
                await within(seconds / MOST_SPEED, self._news.wait())
        self._news.clear()
        if self._finals:
            await self._send(self._final([self._finals.popleft()]))
        else:
            await self._send({"partial": self._partial})

    async def ended(self) -> None:
        """Answer the end of the audio."""
        await self._send(self._final(self._finals))

    def _final(self, results: Sequence[LiveResult]) -> dict[str, Any]:
        if self._wishes.max_alternatives:
            return {"alternatives": _alternatives(results, self._wishes)}
        best = [result.hypotheses[0] for result in results]
        text = " ".join(hypothesis.text for hypothesis in best)
        words = [_vosk_word(word) for hypothesis in best for word in hypothesis.words]
        return {"result": words, "text": text} if words else {"text": text}


def _alternatives(results: Sequence[LiveResult], wishes: Wishes) -> list[dict[str, Any]]:
    """Those of one segment; of several, the best of each, one after the other."""
    if len(results) == 1:
        ways = [[hypothesis] for hypothesis in results[0].hypotheses]
    else:
        ways = [[result.hypotheses[0] for result in results]]
    found = []
    for way in ways:
        values: dict[str, Any] = {
            "confidence": min((hypothesis.confidence for hypothesis in way), default=1.0)
        }
        if wishes.words:
            values["result"] = [
                {key: value for key, value in _vosk_word(word).items() if key != "conf"}
                for hypothesis in way
                for word in hypothesis.words
            ]
        found.append({**values, "text": " ".join(hypothesis.text for hypothesis in way)})
    return found


def _vosk_word(word: Word) -> dict[str, Any]:
    return {
        "conf": round(word.confidence, 6),
        "end": round(word.end, 6),
        "start": round(word.start, 6),
        "word": word.text,
    }


class Native:
    """All that is known, as soon as it is known. Each message says its ``type``."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def begun(self, started: StreamStarted) -> None:
        """``started``: what the server makes of the stream."""
        await self._send(
            {
                "type": "started",
                "model": started.model,
                "answers_at_end": started.answers_at_end,
                "look_ahead": started.look_ahead,
                "chunk": started.chunk,
                "max_audio": started.max_audio,
            }
        )

    async def said(self, result: LiveResult) -> None:
        """``partial`` or ``final``."""
        times = {"start": round(result.start, 3), "end": round(result.end, 3)}
        best = result.hypotheses[0]
        if result.is_final:
            alternatives = [_alternative(hypothesis) for hypothesis in result.hypotheses]
            values = {**alternatives[0], "alternatives": alternatives, "last": result.is_last}
            await self._send({"type": "final", **times, **values})
            return
        await self._send(
            {
                "type": "partial",
                **times,
                "stable": result.settled,
                "unstable": result.text[len(result.settled) :],
                "stability": round(result.stability, 4),
                "words": [_word(word) for word in best.words],
            }
        )

    async def taken(self, seconds: float) -> None:
        """Nothing is told of it."""

    async def ended(self) -> None:
        """``done``."""
        await self._send({"type": "done"})


def _alternative(hypothesis: Hypothesis) -> dict[str, Any]:
    values: dict[str, Any] = {
        "text": hypothesis.text,
        "confidence": round(hypothesis.confidence, 4),
        "score": round(hypothesis.score, 4),
        "words": [_word(word) for word in hypothesis.words],
    }
    if hypothesis.spoken_text:
        values["spoken"] = hypothesis.spoken_text
        values["spoken_words"] = [_word(word) for word in hypothesis.spoken_words]
    return values


def _word(word: Word) -> dict[str, Any]:
    return {
        "word": word.text,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "confidence": round(word.confidence, 4),
    }
