"""Live streams last: they keep to their places, and let go of them whatever their clients do."""

from __future__ import annotations

import asyncio
import os
import threading
from queue import Queue
from types import SimpleNamespace

import grpc
import numpy as np
import pytest

from server.api.live import LiveCalls
from server.api.pipeline import Plan
from server.audio.pool import AudioJob
from server.engine.live import LiveStreams
from server.engine.models import ServedModel
from server.errors import Refusal
from server.options import StreamOptions
from server.pb.v1 import speech_pb2 as pb
from server.telemetry.records import CallRecord

pytestmark = pytest.mark.timed

RAW = pb.RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16_000)
BEGIN = pb.TranscribeStreamRequest(
    streaming_config=pb.StreamingRecognitionConfig(
        config=RAW, interim_results=True, latency="LATENCY_LOW"
    )
)
END = pb.TranscribeStreamRequest(end_segment=pb.EndSegment())


def audio(samples: np.ndarray) -> pb.TranscribeStreamRequest:
    return pb.TranscribeStreamRequest(audio_content=(samples * 32767).astype("<i2").tobytes())


class Talk:
    """A live stream whose client sends what it is told to; None closes its side."""

    def __init__(self, running) -> None:
        self._queue: Queue[pb.TranscribeStreamRequest | None] = Queue()
        self._queue.put(BEGIN)
        self.call = running.stub.TranscribeStream(iter(self._queue.get, None), timeout=120)

    def send(self, *messages: pb.TranscribeStreamRequest | None) -> None:
        for message in messages:
            self._queue.put(message)

    def started(self) -> Talk:
        assert next(self.call).HasField("started")
        return self

    def until_results(self) -> Talk:
        assert next(self.call).HasField("results")
        return self

    def end(self) -> tuple[grpc.StatusCode, list[pb.StreamingRecognitionResult]]:
        """Its status, and the final results until then."""
        parts = []
        try:
            for answer in self.call:
                parts += [part for part in answer.results.results if part.is_final]
        except grpc.RpcError as error:
            return error.code(), parts
        return grpc.StatusCode.OK, parts


@pytest.fixture(scope="module")
def talk_of():
    made: list[Talk] = []

    def make(running) -> Talk:
        made.append(Talk(running))
        return made[-1]

    yield make
    for talk in made:
        talk.send(None)
        talk.call.cancel()


def open_streams(running) -> int:
    """Streams that the engine still holds."""

    async def count() -> int:
        return len(running.application.live._open)

    return asyncio.run_coroutine_threadsafe(count(), running.loop).result(30)


def test_streams_have_places_of_their_own(serving, recognizer, samples_of, talk_of):
    """Beyond them a stream is refused at once and told when to come again; calls are answered."""
    with serving(recognizer, streams=2, running=1, waiting=0) as running:
        held = [talk_of(running).started() for _ in range(2)]
        third = talk_of(running)
        assert third.end() == (grpc.StatusCode.RESOURCE_EXHAUSTED, [])
        assert "2 live streams" in third.call.details()
        assert "grpc-retry-pushback-ms" in dict(third.call.trailing_metadata())
        request = pb.TranscribeRequest(config=RAW, audio=audio(samples_of(0, 1.0)).audio_content)
        assert running.stub.Transcribe(request, timeout=60).results
        held[0].call.cancel()
        running.settle(1)
        talk_of(running).started()


def test_a_hundred_cancels_leave_nothing_behind(serving, recognizer, samples_of, talk_of):
    """Before the first word, after it, with audio in the queue, with the end sent, by deadline."""
    with serving(recognizer, streams=50) as running:
        piece = audio(samples_of(0, 2.0))

        def cancelled(number: int) -> None:
            talk = Talk(running)
            stage = number % 5
            if stage:
                talk.started()
            if stage > 1:
                talk.send(piece)
            if stage == 3:
                talk.until_results()
            if stage == 4:
                talk.send(piece, END, None)
            talk.call.cancel()
            talk.send(None)

        for number in range(100):
            cancelled(number)
        running.settle(0)
        assert open_streams(running) == 0
        assert len(running.application.live) == 0
        talk = talk_of(running).started()
        talk.send(piece, None)
        assert talk.end()[0] is grpc.StatusCode.OK


def test_a_stream_past_its_deadline_is_let_go(serving, recognizer):
    ended = threading.Event()

    def talk():
        yield BEGIN
        ended.wait(60)  # a stream that goes on

    with serving(recognizer) as running:
        with pytest.raises(grpc.RpcError) as caught:
            list(running.stub.TranscribeStream(talk(), timeout=0.05))
        ended.set()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        running.settle(0)
        assert open_streams(running) == 0


def test_a_client_that_sends_nothing_loses_its_place(serving, recognizer, samples_of, talk_of):
    """What was said until then has been told."""
    with serving(recognizer, idle_seconds=0.5) as running:
        talk = talk_of(running).started()
        talk.send(audio(samples_of(0, 2.0)))
        assert talk.until_results().end()[0] is grpc.StatusCode.DEADLINE_EXCEEDED
        running.settle(0)


def test_a_client_that_does_not_read_loses_its_place(virtually, instantly, recognizer, samples_of):
    """It speaks on in real time; what is said of it meanwhile is not kept."""

    class Searches:
        async def run(self, search):
            return search(None)

    class Pipeline:
        async def plan(self, config, record):
            model = ServedModel("tiny", recognizer, "", None)
            return Plan(
                model, recognizer.decoder(), AudioJob("FLOAT", 16_000, 1, None, 16_000), False
            )

    class Client:
        """Takes its first message, and speaks without end."""

        written = 0

        async def write(self, message) -> None:
            self.written += 1
            if self.written > 1:
                await asyncio.Event().wait()

        async def live(self):
            piece = samples_of(0, 0.1).tobytes()
            while True:
                yield piece
                await asyncio.sleep(0.1)

    async def run() -> None:
        client, streams = Client(), LiveStreams(instantly(), StreamOptions(buffer_seconds=4.0))
        calls = LiveCalls(Pipeline(), streams, None, Searches(), idle_seconds=10.0)
        place, record = SimpleNamespace(stream=lambda count: None), CallRecord("method", "id")
        with pytest.raises(Refusal, match="results were not read for 10 s") as caught:
            await calls.run(BEGIN.streaming_config, client, place, client, record)
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert 10.0 <= asyncio.get_running_loop().time() < 12.0  # the first word comes in two
        assert client.written == 2
        assert not streams._open

    virtually(run())


def test_a_stop_tells_each_stream_what_was_said_until_then(
    serving, recognizer, samples_of, talk_of
):
    """All audio that came is in the final result; the status sends the client elsewhere."""
    with serving(recognizer, grace_seconds=2.0) as running:
        talks = [talk_of(running).started() for _ in range(3)]
        for talk in talks:
            talk.send(audio(samples_of(0, 2.0)))
            talk.until_results()
        running.stop()
        for talk in talks:
            code, (final,) = talk.end()
            assert code is grpc.StatusCode.UNAVAILABLE
            assert final.result_end_time.ToMilliseconds() == 2_000
            assert "go on with another stream" in talk.call.details()
    assert running.in_time == [True]


def test_a_defect_in_one_stream_is_its_own(serving, recognizer, samples_of, talk_of, monkeypatch):
    """It is told INTERNAL and no more; another stream goes on."""
    from asr.live import LiveStream

    accept, broken = LiveStream.accept, threading.Event()

    def fail_once(self, log_probs):
        if not broken.is_set():
            broken.set()
            raise RuntimeError("/secret/path")
        return accept(self, log_probs)

    monkeypatch.setattr(LiveStream, "accept", fail_once)
    with serving(recognizer) as running:
        first, second = talk_of(running).started(), talk_of(running).started()
        first.send(audio(samples_of(0, 2.0)))
        assert first.end()[0] is grpc.StatusCode.INTERNAL
        assert "secret" not in first.call.details()
        second.send(audio(samples_of(0, 1.0)), None)
        code, parts = second.end()
        assert (code, len(parts)) == (grpc.StatusCode.OK, 1)


@pytest.mark.parametrize("minutes", [10, pytest.param(60, marks=pytest.mark.slow)])
def test_silence_says_nothing_however_long(serving, recognizer, memory, talk_of, minutes):
    """No result comes but where the client ends a segment, and what the server holds does not grow.

    In the first half second a model may still hear something: it does not know that it is silence.
    """
    quiet = pb.TranscribeStreamRequest(audio_content=bytes(2 * 16_000))
    with serving(recognizer) as running:
        talk = talk_of(running).started()
        talk.send(*[quiet] * 60)
        talk.send(END)
        while next(talk.call).results.results[0].result_end_time.seconds < 60:
            pass
        before = memory(os.getpid())
        talk.send(*[quiet] * (60 * minutes - 60), END)
        (end,) = next(talk.call).results.results
        assert (end.is_final, end.result_end_time.seconds) == (True, 60 * minutes)
        assert not end.alternatives[0].transcript
        assert memory(os.getpid()) - before < 16 * 1024 * 1024
        talk.send(None)
        assert talk.end() == (grpc.StatusCode.OK, [])
