"""More than the server can take: exactly as many as fit are answered, the rest at once refused."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from functools import partial
from queue import Queue

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from server.api import upload
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub

pytestmark = pytest.mark.timed

RAW = pb.RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16000)
REQUEST = pb.TranscribeRequest(config=RAW, audio=bytes(32000))
C, Q = 2, 3
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def wave(running, gate, count: int) -> tuple[list[str], list[grpc.Future], list[float]]:
    """``count`` calls at a shut gate: transcripts, calls refused, and the seconds these took."""
    done: Queue[tuple[grpc.Future, float]] = Queue()
    gate.shut()
    sent = time.monotonic()
    for _ in range(count):
        call = running.stub.Transcribe.future(REQUEST, timeout=60)
        call.add_done_callback(lambda call: done.put((call, time.monotonic() - sent)))
    refused = [done.get(timeout=30) for _ in range(count - C - Q)]
    gate.open()
    answered = [done.get(timeout=30)[0] for _ in range(C + Q)]
    texts = [call.result().results[0].alternatives[0].transcript for call in answered]
    return texts, [call for call, _ in refused], [seconds for _, seconds in refused]


@pytest.mark.parametrize("waves", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_exactly_those_that_fit_are_answered_and_the_rest_refused_at_once(
    serving, stand_in, gate_at, waves
):
    gate, times = gate_at("model"), []
    with serving(stand_in(before=gate), running=C, waiting=Q) as running:
        for _ in range(waves):
            texts, refused, seconds = wave(running, gate, 3 * (C + Q))
            assert texts == ["greedy - 1 50"] * (C + Q)
            for call in refused:
                assert call.code() == EXHAUSTED
                assert "try again later" in call.details()
                metadata = dict(call.trailing_metadata())
                assert 0 < int(metadata["grpc-retry-pushback-ms"]) <= 1000
            times += seconds
    assert statistics.median(times) < 0.05


def test_a_refused_call_costs_no_work(serving, stand_in, gate_at):
    gate = gate_at("model")
    with serving(stand_in(before=gate), running=C, waiting=Q) as running:
        wave(running, gate, 50)
    assert sum(len(waveforms) for waveforms in gate.given) == C + Q


SPEECH, RIVA = "asr.v1.Speech", "nvidia.riva.asr.RivaSpeechRecognition"
PLACED = [f"/{SPEECH}/{name}" for name in ("Transcribe", "TranscribeChunks", "TranscribeStream")]
PLACED += [f"/{RIVA}/Recognize", f"/{RIVA}/StreamingRecognize"]


@pytest.fixture(scope="module")
def full(serving, stand_in):
    """A server whose only place is taken by a stream that waits for its audio."""
    with serving(stand_in(), running=1, waiting=0, idle_seconds=300) as running:
        end = threading.Event()

        def requests():
            yield pb.TranscribeStreamRequest(config=RAW)
            end.wait(60)

        stream = running.stub.TranscribeStream(requests(), timeout=60)
        assert next(stream).started
        yield running
        stream.cancel()
        end.set()


@pytest.mark.parametrize("method", PLACED)
def test_a_call_too_many_is_refused_by_its_header(full, method):
    """Of its message not a byte is ever sent."""
    if RIVA in method and full.application.riva is None:
        pytest.skip("the package with Riva's messages is not installed")
    counted = partial(
        full.application.metrics.registry.get_sample_value,
        "asr_refusals_total",
        {"cause": "full"},
    )
    before, over = counted(), threading.Event()

    def nothing():
        over.wait(60)
        yield from ()

    call = full.channel.stream_stream(method)(nothing(), timeout=30)
    assert call.code() == EXHAUSTED
    over.set()
    assert call.details() == "the server has 1 calls, as many as it takes; try again later"
    metadata = dict(call.trailing_metadata())
    assert 250 <= int(metadata["grpc-retry-pushback-ms"]) <= 1000
    assert metadata["x-request-id"]
    assert counted() == before + 1


def test_what_needs_no_place_is_answered_while_it_is_full(full):
    assert full.stub.ListModels(pb.ListModelsRequest(), timeout=30).models
    health = HealthStub(full.channel).Check(HealthCheckRequest(), timeout=30)
    assert health.status == HealthCheckResponse.SERVING


def test_streams_and_messages_share_the_places(serving, stand_in):
    """Two streams that wait for their audio leave one place of three."""
    with serving(stand_in(), running=1, waiting=2) as running:
        end = threading.Event()

        def requests():
            yield pb.TranscribeStreamRequest(config=RAW)
            assert end.wait(30)
            yield pb.TranscribeStreamRequest(audio_content=bytes(32000))

        streams = [running.stub.TranscribeStream(requests(), timeout=60) for _ in range(2)]
        assert [next(stream).started.model for stream in streams] == ["stand-in"] * 2
        assert running.stub.Transcribe(REQUEST, timeout=30).results
        third = running.stub.TranscribeStream(requests(), timeout=60)
        assert next(third).started.model
        with pytest.raises(grpc.RpcError) as caught:
            running.stub.Transcribe(REQUEST, timeout=30)
        assert caught.value.code() == EXHAUSTED
        end.set()
        for stream in [*streams, third]:
            assert next(stream).result.alternatives[0].transcript == "greedy - 1 50"
        assert running.stub.Transcribe(REQUEST, timeout=30).results


def test_a_thousand_watchers_do_not_starve_the_service(serving, stand_in):
    """Each watcher is a call to gRPC; none of them takes a place."""

    async def live(address: str) -> tuple[list[float], int]:
        async with grpc.aio.insecure_channel(address) as channel:
            health = HealthStub(channel)
            watchers = [health.Watch(HealthCheckRequest(), timeout=120) for _ in range(1000)]
            for watcher in watchers:
                assert (await watcher.read()).status == HealthCheckResponse.SERVING
            answered, checks = 0, []
            for _ in range(50):
                assert (await SpeechStub(channel).Transcribe(REQUEST, timeout=30)).results
                answered += 1
                sent = time.monotonic()
                await health.Check(HealthCheckRequest(), timeout=30)
                checks.append(time.monotonic() - sent)
            for watcher in watchers:
                watcher.cancel()
            return checks, answered

    with serving(stand_in(), running=1, waiting=0) as running:
        checks, answered = asyncio.run(live(running.address))
    assert answered == 50
    assert statistics.median(checks) < 0.1


def test_above_the_memory_mark_new_calls_are_refused_and_health_is_told(serving, stand_in):
    with serving(stand_in(), memory_mark=1) as running:
        with pytest.raises(grpc.RpcError) as caught:
            running.stub.Transcribe(REQUEST, timeout=30)
        assert caught.value.code() == EXHAUSTED
        assert "memory" in caught.value.details()
        health = HealthStub(running.channel).Check(HealthCheckRequest(), timeout=30)
        assert health.status == HealthCheckResponse.SERVING
        assert running.stub.ListModels(pb.ListModelsRequest(), timeout=30).models


def test_a_thousand_large_calls_on_one_channel_are_each_answered_right(serving, stand_in):
    frames = [500 + n % 400 for n in range(1000)]  # 320 kB to 576 kB each

    async def live(address: str) -> list[str]:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = SpeechStub(channel)

            async def call(count: int) -> str:
                request = pb.TranscribeRequest(config=RAW, audio=bytes(640 * count))
                response = await stub.Transcribe(request, timeout=120)
                return response.results[0].alternatives[0].transcript

            return await asyncio.gather(*(call(count) for count in frames))

    with serving(stand_in(), running=8, waiting=1000) as running:
        texts = asyncio.run(live(running.address))
    assert texts == [f"greedy - 1 {count}" for count in frames]


@pytest.mark.parametrize("pace", [0.0, 0.1], ids=["silent", "a byte at a time"])
def test_slow_uploads_lose_their_places(serving, stand_in, pace):
    over = threading.Event()

    def requests():
        yield pb.TranscribeChunksRequest(config=RAW)
        while not over.wait(pace or 60):
            yield pb.TranscribeChunksRequest(audio_content=b"\0")

    with serving(stand_in(), running=1, waiting=19, idle_seconds=0.5) as running:
        calls = [running.stub.TranscribeChunks.future(requests(), timeout=60) for _ in range(20)]
        for call in calls:
            assert call.exception(timeout=30) is not None
            assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert "250 bytes a second" in call.details()
        over.set()
        assert running.stub.Transcribe(REQUEST, timeout=30).results


def test_an_upload_has_an_end(serving, stand_in, monkeypatch):
    """However steady it is."""
    monkeypatch.setattr(upload, "UPLOAD_SECONDS", 0.5)
    over = threading.Event()

    def requests():
        yield pb.TranscribeChunksRequest(config=RAW)
        while not over.wait(0.05):
            yield pb.TranscribeChunksRequest(audio_content=bytes(1000))

    with serving(stand_in()) as running:
        with pytest.raises(grpc.RpcError) as caught:
            running.stub.TranscribeChunks(requests(), timeout=60)
        over.set()
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert "more than 0.5 s" in caught.value.details()


def test_an_upload_as_slow_as_speech_codecs_keeps_its_place(serving, stand_in):
    """750 bytes a second, for longer than the idle time."""

    def requests():
        yield pb.TranscribeStreamRequest(config=RAW)
        for _ in range(12):
            yield pb.TranscribeStreamRequest(audio_content=bytes(150))
            time.sleep(0.2)

    with serving(stand_in(), idle_seconds=1.0) as running:
        _, last = running.stub.TranscribeStream(requests(), timeout=60)
        assert last.result.result_end_time.ToMilliseconds() == 56
