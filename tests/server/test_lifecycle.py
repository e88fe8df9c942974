"""The server tells the truth about its health, and leaves no accepted call without its answer."""

from __future__ import annotations

import asyncio
import socket
import threading

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from asr.types import BundleError, ConfigError
from server.lifecycle import ServerOptions, serve
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
RAW = pb.RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16000)
REQUEST = pb.TranscribeRequest(config=RAW, audio=bytes(32000))


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def check(channel: grpc.Channel, service: str = "") -> int:
    request = HealthCheckRequest(service=service)
    return HealthStub(channel).Check(request, timeout=30, wait_for_ready=True).status


def test_serving_only_after_loading_and_a_warm_up_inference(stand_in):
    """Loading, the warm-up and each answer are stepped through one by one."""
    may_load, may_warm_up, warming_up = threading.Event(), threading.Event(), threading.Event()
    warmed_with: list[float] = []

    class Slow(stand_in):
        def recognize(self, waveforms, decoder=None):
            warmed_with.extend(waveform.duration for waveform in waveforms)
            warming_up.set()
            assert may_warm_up.wait(30)
            return super().recognize(waveforms, decoder)

    def load():
        assert may_load.wait(30)
        return Slow()

    port = free_port()

    async def live() -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        server = asyncio.create_task(
            serve(load, ServerOptions(port=port), stop, lambda address: ready.set())
        )
        await asyncio.to_thread(step_until_warm)
        await asyncio.wait_for(ready.wait(), 30)
        await asyncio.to_thread(step_when_warm)
        stop.set()
        await asyncio.wait_for(server, 30)

    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    watch = HealthStub(channel).Watch(HealthCheckRequest(), wait_for_ready=True, timeout=60)

    def step_until_warm() -> None:
        assert next(watch).status == NOT_SERVING
        for event, gate in ((None, may_load), (warming_up, may_warm_up)):
            assert event is None or event.wait(30)
            assert check(channel) == check(channel, "asr.v1.Speech") == NOT_SERVING
            with pytest.raises(grpc.RpcError) as caught:
                SpeechStub(channel).Transcribe(REQUEST, timeout=30)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            assert "loaded" in caught.value.details()
            gate.set()

    def step_when_warm() -> None:
        assert warmed_with == [1.0]
        assert next(watch).status == SERVING
        assert check(channel) == check(channel, "asr.v1.Speech") == SERVING
        assert SpeechStub(channel).Transcribe(REQUEST, timeout=30).results

    asyncio.run(live())
    assert [answer.status for answer in watch] == [NOT_SERVING], "told, and let go"
    channel.close()


def test_an_unknown_service_has_no_health(serving, stand_in):
    with serving(stand_in()) as running:
        with pytest.raises(grpc.RpcError) as caught:
            check(running.channel, "asr.v2.Speech")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        watch = HealthStub(running.channel).Watch(HealthCheckRequest(service="asr.v2.Speech"))
        assert next(watch).status == HealthCheckResponse.SERVICE_UNKNOWN
        watch.cancel()


def test_a_stop_lets_accepted_calls_finish_and_takes_no_new_ones(serving, stand_in):
    entered, gate = threading.Event(), threading.Event()

    class Blocking(stand_in):
        def recognize(self, waveforms, decoder=None):
            if decoder is not None:
                entered.set()
                assert gate.wait(30)
            return super().recognize(waveforms, decoder)

    with serving(Blocking()) as running:
        watch = HealthStub(running.channel).Watch(HealthCheckRequest(), timeout=60)
        assert next(watch).status == SERVING
        accepted = running.stub.Transcribe.future(REQUEST, timeout=30)
        assert entered.wait(30)
        running.stop()
        assert [answer.status for answer in watch] == [NOT_SERVING]
        with grpc.insecure_channel(running.address) as late, pytest.raises(grpc.RpcError) as caught:
            SpeechStub(late).Transcribe(REQUEST, timeout=10)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert running.thread.is_alive()
        gate.set()
        assert accepted.result().results[0].alternatives[0].transcript == "greedy 16 1"
        running.thread.join(30)
        assert not running.thread.is_alive()


def test_a_stop_waits_no_longer_than_the_grace_time(serving, stand_in):
    entered, gate = threading.Event(), threading.Event()

    class Stuck(stand_in):
        def recognize(self, waveforms, decoder=None):
            if decoder is not None:
                entered.set()
                assert gate.wait(60)
            return super().recognize(waveforms, decoder)

    with serving(Stuck(), grace_seconds=0.1) as running:
        call = running.stub.Transcribe.future(REQUEST, timeout=50)
        assert entered.wait(30)
        running.stop()
        running.thread.join(30)
        assert not running.thread.is_alive()
        assert call.exception() is not None
        gate.set()


def test_a_failed_load_ends_the_server(stand_in):
    def load():
        raise BundleError("no such bundle")

    with pytest.raises(BundleError, match="no such bundle"):
        asyncio.run(serve(load, ServerOptions(port=0), asyncio.Event(), print))


def test_a_port_belongs_to_one_server(serving, stand_in):
    with serving(stand_in()) as running:
        port = int(running.address.split(":")[1])
        with pytest.raises(ConfigError, match="in use"):
            asyncio.run(serve(stand_in, ServerOptions(port=port), asyncio.Event(), print))


@pytest.mark.parametrize(
    "options",
    [{"port": -1}, {"port": 65536}, {"grace_seconds": -1}, {"grace_seconds": float("nan")}],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError):
        ServerOptions(**options)


def test_only_this_machine_is_served_by_default():
    assert ServerOptions().host == "127.0.0.1"
