"""Clients that speak in real time to a live server, and note when what comes back.

Audio is sent in pieces of 100 ms, each when its last sample would have been spoken. Latencies are
from the moment when the audio that a result ends with was sent to the moment when the result came,
so they hold the look-ahead.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import grpc
import numpy as np
from numpy.typing import NDArray

from server.client.results import LiveResult, read_live
from server.pb.v1.speech_pb2 import (
    RecognitionConfig,
    StreamingRecognitionConfig,
    TranscribeStreamRequest,
)
from server.pb.v1.speech_pb2_grpc import SpeechStub

__all__ = ["Heard", "Speech", "Wishes", "conversation", "speak_all"]

PIECE_SECONDS = 0.1
PAUSE_SECONDS = 1.5  # between utterances, for endpoints to be found in
HUSH = 1e-4  # of the noise in a pause
STREAM_SECONDS = 20.0  # of one stream; then its client begins another


@dataclass(frozen=True)
class Speech:
    """What is spoken in one stream: ``samples (N,)`` at ``sample_rate``."""

    samples: NDArray[np.float32]
    sample_rate: int

    def pieces(self) -> list[bytes]:
        """LINEAR16, each piece to be sent when it has been spoken."""
        size = round(PIECE_SECONDS * self.sample_rate)
        data = (np.clip(self.samples, -1, 1) * 32767).astype("<i2").tobytes()
        return [data[start : start + 2 * size] for start in range(0, len(data), 2 * size)]


@dataclass(frozen=True)
class Wishes:
    """What clients ask for: a decoder, and a class of latency; else what the model has."""

    decoder: str = ""
    latency: str = "unspecified"


@dataclass
class Heard:
    """What the clients of one load noted. All times are seconds.

    Attributes:
        partials: latencies of interim results.
        finals: from the end of a stream's audio to its last final result.
        first_words: from the end of a segment's first word to the first result that had any word.
        shown, changed: words that interim results showed, and those of them that the final result
            does not have at their place.
        broken: results that took back what had been settled.
        refused: streams that did not end well.
        audio: seconds that were spoken.
        look_ahead: what the server said of it.
    """

    partials: list[float] = field(default_factory=list)
    finals: list[float] = field(default_factory=list)
    first_words: list[float] = field(default_factory=list)
    shown: int = 0
    changed: int = 0
    broken: int = 0
    refused: int = 0
    audio: float = 0.0
    look_ahead: float = 0.0


def conversation(
    utterances: Sequence[NDArray[np.float32]], sample_rate: int, chance: random.Random
) -> Speech:
    """Utterances in any order with pauses between them, of about ``STREAM_SECONDS``."""
    noise = np.random.default_rng(chance.randrange(2**32))
    parts: list[NDArray[np.float32]] = []
    while sum(map(len, parts)) < STREAM_SECONDS * sample_rate:
        pause = noise.normal(scale=HUSH, size=round(PAUSE_SECONDS * sample_rate))
        parts += [chance.choice(utterances), pause.astype(np.float32)]
    return Speech(np.concatenate(parts[:-1]), sample_rate)  # it ends with a word


async def speak_all(
    address: str,
    utterances: Sequence[NDArray[np.float32]],
    sample_rate: int,
    sessions: int,
    seconds: float,
    wishes: Wishes,
) -> Heard:
    """``sessions`` clients speak for ``seconds``, one stream after the other."""
    heard, end = Heard(), time.perf_counter() + seconds
    options = [("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        stub = SpeechStub(channel)

        async def client(number: int) -> None:
            chance = random.Random(number)
            await asyncio.sleep(chance.uniform(0, 2.0))  # nobody begins together
            while time.perf_counter() < end:
                speech = conversation(utterances, sample_rate, chance)
                try:
                    await _Conversation(speech, heard, wishes).hold(stub)
                except grpc.aio.AioRpcError:
                    heard.refused += 1
                    await asyncio.sleep(1.0)

        await asyncio.gather(*(client(number) for number in range(sessions)))
    return heard


class _Conversation:
    """One stream: its times of sending, and the segment that goes on."""

    def __init__(self, speech: Speech, heard: Heard, wishes: Wishes) -> None:
        self._speech = speech
        self._heard = heard
        self._wishes = wishes
        self._sent: list[float] = []  # when, piece by piece
        self._settled = ""
        self._shown: dict[int, set[str]] = {}  # words by their place
        self._first: float | None = None  # when the segment's first word came

    async def hold(self, stub: SpeechStub) -> None:
        """Speak, listen, note."""
        last = 0.0
        async for answer in stub.TranscribeStream(self._requests()):
            if answer.HasField("started"):
                self._heard.look_ahead = answer.started.look_ahead.ToNanoseconds() / 1e9
                continue
            now = time.perf_counter()
            result = read_live(answer.results)
            self._note(result, now)
            if result.is_final:
                last = now
        if last:
            self._heard.finals.append(last - self._sent[-1])
        self._heard.audio += len(self._speech.samples) / self._speech.sample_rate

    async def _requests(self) -> AsyncIterator[TranscribeStreamRequest]:
        yield TranscribeStreamRequest(streaming_config=self._config())
        begun = time.perf_counter()
        for number, piece in enumerate(self._speech.pieces(), start=1):
            await asyncio.sleep(begun + number * PIECE_SECONDS - time.perf_counter())
            self._sent.append(time.perf_counter())
            yield TranscribeStreamRequest(audio_content=piece)

    def _config(self) -> StreamingRecognitionConfig:
        return StreamingRecognitionConfig(
            config=RecognitionConfig(
                encoding="AUDIO_ENCODING_LINEAR16",
                sample_rate_hertz=self._speech.sample_rate,
                enable_word_time_offsets=True,
                decoder=self._wishes.decoder,
            ),
            interim_results=True,
            latency=f"LATENCY_{self._wishes.latency.upper()}",
        )

    def _note(self, result: LiveResult, now: float) -> None:
        heard = self._heard
        heard.broken += not result.text.startswith(self._settled)
        self._settled = "" if result.is_final else result.settled
        if result.text and self._first is None:
            self._first = now
        if not result.is_final:
            heard.partials.append(now - self._sent_at(result.end))
            for place, word in enumerate(result.text.split()):
                self._shown.setdefault(place, set()).add(word)
            return
        words = result.text.split()
        for place, shown in self._shown.items():
            heard.shown += len(shown)
            heard.changed += sum(place >= len(words) or words[place] != word for word in shown)
        if result.hypotheses[0].words and self._first is not None:
            heard.first_words.append(self._first - self._sent_at(result.hypotheses[0].words[0].end))
        self._shown, self._first = {}, None

    def _sent_at(self, seconds: float) -> float:
        """When the audio up to there had been sent."""
        piece = max(0, math.ceil(round(seconds / PIECE_SECONDS, 6)) - 1)
        return self._sent[min(piece, len(self._sent) - 1)]
