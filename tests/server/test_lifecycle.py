"""The server tells the truth about its health, and leaves no accepted call without its answer."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from dataclasses import replace

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from asr.types import BundleError, ConfigError
from server.lifecycle import Signals, serve
from server.options import CapacityOptions, ListenOptions, ServerOptions
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub

pytestmark = pytest.mark.timed

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
RAW = pb.RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16000)
REQUEST = pb.TranscribeRequest(config=RAW, audio=bytes(32000))


def options(port: int = 0) -> ServerOptions:
    return ServerOptions(ListenOptions(port=port), CapacityOptions(audio_processes=1))


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def check(channel: grpc.Channel, service: str = "") -> int:
    request = HealthCheckRequest(service=service)
    return HealthStub(channel).Check(request, timeout=30, wait_for_ready=True).status


def text(response: pb.TranscribeResponse) -> str:
    return response.results[0].alternatives[0].transcript


def test_serving_only_after_loading_and_a_warm_up_inference(stand_in, stand_in_source):
    """Loading, the warm-up and each answer are stepped through one by one."""
    may_load, may_warm_up, warming_up = threading.Event(), threading.Event(), threading.Event()
    warmed_with: list[float] = []

    class Slow(stand_in):
        def recognize(self, waveforms, decoder=None):
            warmed_with.extend(waveform.duration for waveform in waveforms)
            warming_up.set()
            assert may_warm_up.wait(30)
            return super().recognize(waveforms, decoder)

    def read(stand_in):
        assert may_load.wait(30)
        return stand_in

    port = free_port()

    async def live() -> None:
        signals, ready = Signals(), asyncio.Event()
        source = stand_in_source({"slow": Slow()})
        server = asyncio.create_task(
            serve(source, read, options(port), signals, lambda address: ready.set())
        )
        await asyncio.to_thread(step_until_warm)
        await asyncio.wait_for(ready.wait(), 30)
        await asyncio.to_thread(step_when_warm)
        signals.stop.set()
        assert await asyncio.wait_for(server, 30)

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
        assert warmed_with == [1.0, 1.0], "greedily, and by a beam"
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


def test_a_stop_lets_a_hundred_accepted_calls_finish_and_takes_no_new_ones(
    serving, stand_in, gate_at
):
    gate = gate_at("model")
    with serving(stand_in(before=gate), running=4, waiting=96) as running:
        watch = HealthStub(running.channel).Watch(HealthCheckRequest(), timeout=60)
        assert next(watch).status == SERVING
        gate.shut()
        accepted = [running.stub.Transcribe.future(REQUEST, timeout=60) for _ in range(100)]
        running.settle(100)
        running.stop()
        assert [answer.status for answer in watch] == [NOT_SERVING]
        for late in (running.channel, grpc.insecure_channel(running.address)):
            with pytest.raises(grpc.RpcError) as caught:
                SpeechStub(late).Transcribe(REQUEST, timeout=10)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert running.thread.is_alive()
        gate.open()
        assert [text(call.result()) for call in accepted] == ["greedy - 1 50"] * 100
        running.thread.join(30)
        assert not running.thread.is_alive()
        assert running.in_time == [True]


def test_a_stop_waits_no_longer_than_the_grace_time(serving, stand_in, gate_at):
    gate = gate_at("model")
    with serving(stand_in(before=gate), grace_seconds=0.5) as running:
        gate.shut()
        call = running.stub.Transcribe.future(REQUEST, timeout=50)
        gate.wait()
        stopped = time.monotonic()
        running.stop()
        running.thread.join(30)
        assert 0.5 <= time.monotonic() - stopped < 1.5
        assert call.exception() is not None
        assert running.in_time == [False], "and it says that calls were cut off"


def test_a_failed_load_ends_the_server(stand_in, stand_in_source):
    def read(stand_in):
        raise BundleError("no such bundle")

    source = stand_in_source({"none": stand_in()})
    with pytest.raises(BundleError, match="no such bundle"):
        asyncio.run(serve(source, read, options(), Signals(), print))


def test_a_port_belongs_to_one_server(serving, stand_in, stand_in_source):
    with serving(stand_in()) as running:
        port = int(running.address.split(":")[1])
        source = stand_in_source({"other": stand_in()})
        with pytest.raises(ConfigError, match="in use"):
            asyncio.run(serve(source, lambda found: found, options(port), Signals(), print))


def test_models_are_exchanged_without_a_lost_call(serving, stand_in, stand_in_source, gate_at):
    """Calls before the exchange are answered by the old model, calls after it by the new."""

    class Loud(stand_in):
        def decode(self, *arguments):
            ((quiet,),) = super().decode(*arguments)
            return [[replace(quiet, text=quiet.text.upper())]]

    gate = gate_at("model")
    source = stand_in_source({"it": stand_in(before=gate)})
    with serving(source=source, running=5) as running:
        gate.shut()
        early = [running.stub.Transcribe.future(REQUEST, timeout=60) for _ in range(5)]
        running.settle(5)
        before = running.stub.GetModel(pb.GetModelRequest()).model.fingerprint
        source.stand_ins, source.stamp = {"it": Loud(), "second": stand_in()}, "1"
        running.reload()
        wait_for_model(running, lambda models: len(models) == 2)
        assert running.stub.GetModel(pb.GetModelRequest()).model.fingerprint != before
        gate.open()
        assert [text(call.result()) for call in early] == ["greedy - 1 50"] * 5
        assert text(running.stub.Transcribe(REQUEST, timeout=30)) == "GREEDY - 1 50"


@pytest.mark.parametrize(
    "error", [BundleError("these weights are none", where="/srv/models/it"), RuntimeError("defect")]
)
def test_a_bad_exchange_leaves_what_is_there(serving, stand_in, stand_in_source, error):
    tried = threading.Event()

    class Broken(stand_in):
        def recognize(self, waveforms, decoder=None):
            tried.set()
            raise error

    source = stand_in_source({"it": stand_in()})
    with serving(source=source) as running:
        source.stand_ins, source.stamp = {"it": Broken()}, "1"
        running.reload()
        assert tried.wait(30)
        assert text(running.stub.Transcribe(REQUEST, timeout=30)) == "greedy - 1 50"
        source.stand_ins, source.stamp = {"it": stand_in(), "more": stand_in()}, "2"
        running.reload()
        wait_for_model(running, lambda models: len(models) == 2)
        assert text(running.stub.Transcribe(REQUEST, timeout=30)) == "greedy - 1 50"


def wait_for_model(running, arrived) -> None:
    end = time.monotonic() + 30
    while not arrived(running.stub.ListModels(pb.ListModelsRequest(), timeout=30).models):
        assert time.monotonic() < end, "it never came"


@pytest.mark.parametrize("value", [-1, float("nan"), 1e9])
def test_impossible_grace_times_are_refused(value):
    with pytest.raises(ConfigError):
        ServerOptions(grace_seconds=value)


@pytest.mark.parametrize(
    "values",
    [
        {"port": -1},
        {"port": 65536},
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"certificate": "a.pem"},
        {"key": "a.pem"},
        {"client_ca": "a.pem"},
    ],
)
def test_unsafe_or_impossible_ways_to_listen_are_refused(values):
    with pytest.raises(ConfigError):
        ListenOptions(**values)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_machines_are_served_with_tls_or_when_told_to(host):
    assert ListenOptions(host=host, insecure=True)
    assert ListenOptions(host=host, certificate="a.pem", key="b.pem")


def test_only_this_machine_is_served_by_default():
    assert ListenOptions().host == "127.0.0.1"


@pytest.mark.parametrize(
    "values", [{"running": 0}, {"waiting": -1}, {"idle_seconds": 0}, {"audio_processes": 0}]
)
def test_impossible_capacities_are_refused(values):
    with pytest.raises(ConfigError):
        CapacityOptions(**values)
