"""Work that nobody waits for any more ends, and its place comes back once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest

from server.audio.pool import AudioWorkers
from server.pb.v1 import speech_pb2 as pb
from server.resources import give_back, resident_bytes

pytestmark = pytest.mark.timed

ROOT = Path(__file__).resolve().parents[3]
RAW = pb.RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16000)
REQUEST = pb.TranscribeRequest(config=RAW, audio=bytes(32000))
C, Q = 4, 4


def check_that_all_places_are_free(running, gate) -> None:
    """Within a second, exactly as many calls are taken in as there are places, and no more."""
    begun = time.monotonic()
    running.settle(0)
    assert time.monotonic() - begun < 1.0
    gate.shut()
    calls = [running.stub.Transcribe.future(REQUEST, timeout=60) for _ in range(C + Q)]
    running.settle(C + Q)
    extra = running.stub.Transcribe.future(REQUEST, timeout=60)
    assert extra.exception(timeout=30).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    gate.open()
    assert all(call.result(timeout=30).results for call in calls)


def tasks_of(running) -> int:
    """Tasks that the server's loop has."""
    result: list[int] = []
    counted = threading.Event()

    def count() -> None:
        result.append(len(asyncio.all_tasks(running.loop)))
        counted.set()

    running.loop.call_soon_threadsafe(count)
    assert counted.wait(30)
    return result[0]


def hold_audio(monkeypatch, gate) -> None:
    """Let the audio's decoding wait for ``gate`` without occupying a process."""
    decode = AudioWorkers.decode

    async def held(self, job, audio):
        await asyncio.to_thread(gate, "audio", None)
        return await decode(self, job, audio)

    monkeypatch.setattr(AudioWorkers, "decode", held)


@pytest.mark.parametrize("stage", ["audio", "model", "decode"])
def test_cancelled_at_work_or_in_the_queue(serving, stand_in, gate_at, monkeypatch, stage):
    """A thousand calls over the three stages, the turn and the batch: some work, most wait.

    What allocators keep at first does not count; of what is sent after it, a third may stay:
    less than those at work would keep.
    """
    gate, rounds = gate_at(stage), 42
    request = pb.TranscribeRequest(config=RAW, audio=bytes(640_000))
    if stage == "audio":
        hold_audio(monkeypatch, gate)
    with serving(stand_in(before=gate), running=C, waiting=Q) as running:

        def fill_and_cancel() -> None:
            gate.shut()
            calls = [running.stub.Transcribe.future(request, timeout=60) for _ in range(C + Q)]
            running.settle(C + Q)
            gate.wait()
            for call in calls:
                call.cancel()
            gate.open()
            running.settle(0)
            gate.given.clear()

        assert running.stub.Transcribe(request, timeout=30).results
        gate.wait()
        tasks = tasks_of(running)
        for _ in range(5):
            fill_and_cancel()
        give_back()
        memory = resident_bytes()
        for _ in range(rounds):
            fill_and_cancel()
        check_that_all_places_are_free(running, gate)
        give_back()
        assert resident_bytes() - memory < rounds * (C + Q) * len(request.audio) / 3
        end = time.monotonic() + 5
        while tasks_of(running) > tasks and time.monotonic() < end:
            pass
        assert tasks_of(running) <= tasks


@pytest.mark.parametrize("method", ["TranscribeChunks", "TranscribeStream"])
def test_cancelled_while_uploading(serving, stand_in, gate_at, method):
    gate = gate_at("model")
    message = getattr(pb, f"{method}Request")
    with serving(stand_in(before=gate), running=C, waiting=Q) as running:
        stub = getattr(running.stub, method)
        assert running.stub.Transcribe(REQUEST, timeout=30).results
        for _ in range(20):
            ended = threading.Event()

            def requests(ended=ended):
                yield message(config=RAW)
                yield message(audio_content=bytes(1000))
                ended.wait(30)

            start = stub.future if method == "TranscribeChunks" else stub
            calls = [start(requests(), timeout=60) for _ in range(C + Q)]
            running.settle(C + Q)
            for call in calls:
                call.cancel()
            ended.set()
            running.settle(0)
        # gRPC ends the stream of requests a moment before it cancels: a few begin in between.
        assert len(gate.given) < 20 * (C + Q) / 10, "half an upload was transcribed"
        check_that_all_places_are_free(running, gate)


def test_cancelled_before_its_batch_never_reaches_the_model(serving, stand_in, gate_at):
    gate = gate_at("model")
    with serving(stand_in(before=gate), running=C, waiting=Q) as running:
        gate.shut()
        first = running.stub.Transcribe.future(REQUEST, timeout=60)
        gate.wait()
        others = [running.stub.Transcribe.future(REQUEST, timeout=60) for _ in range(C + Q - 1)]
        running.settle(C + Q)
        for call in others:
            call.cancel()
        running.settle(1)
        last = running.stub.Transcribe.future(REQUEST, timeout=60)
        gate.open()
        assert first.result().results
        assert last.result().results
    assert sum(len(waveforms) for waveforms in gate.given) == 2


def test_what_is_overdue_is_dropped(serving, stand_in, gate_at):
    gate = gate_at("model")
    with serving(stand_in(before=gate), running=C, waiting=Q) as running:
        gate.shut()
        first = running.stub.Transcribe.future(REQUEST, timeout=60)
        gate.wait()
        for timeout in (0.001, 0.05):
            with pytest.raises(grpc.RpcError) as caught:
                running.stub.Transcribe(REQUEST, timeout=timeout)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        running.settle(1)
        last = running.stub.Transcribe.future(REQUEST, timeout=60)
        gate.open()
        assert first.result().results
        assert last.result().results
    assert sum(len(waveforms) for waveforms in gate.given) == 2


def test_a_cancelled_search_is_told_within_a_tenth_of_a_second(serving, stand_in):
    searching, told = threading.Event(), threading.Event()
    times: list[float] = []

    def search(stage, given):
        if stage == "decode":
            searching.set()
            while not given.flag[0]:
                time.sleep(0.001)
            times.append(time.monotonic())
            told.set()

    with serving(stand_in(before=search)) as running:
        call = running.stub.Transcribe.future(REQUEST, timeout=60)
        assert searching.wait(30)
        cancelled = time.monotonic()
        call.cancel()
        assert told.wait(30)
    assert times[0] - cancelled < 0.1


CLIENT = """
import sys, threading
import grpc
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub
raw = pb.RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16000)
calls = []
for _ in range(int(sys.argv[2])):
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection each
    channel = grpc.insecure_channel(sys.argv[1], options)
    request = pb.TranscribeRequest(config=raw, audio=bytes(32000))
    calls.append((channel, SpeechStub(channel).Transcribe.future(request, timeout=60)))
print("sent", flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.slow)])
def test_clients_that_are_killed_give_their_places_back(serving, stand_in, gate_at, kills):
    """Each kill ends as many connections as there are places, without a word."""
    gate = gate_at("model")
    with serving(stand_in(before=gate), running=C, waiting=Q) as running:
        for _ in range(kills):
            gate.shut()
            command = [sys.executable, "-c", CLIENT, running.address, str(C + Q)]
            client = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
            assert client.stdout is not None
            assert client.stdout.readline() == b"sent\n"
            running.settle(C + Q)
            client.kill()
            client.wait()
            client.stdout.close()
            gate.open()
            check_that_all_places_are_free(running, gate)
