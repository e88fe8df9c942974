"""A real server process: how it starts, stops, runs short of memory and loses an audio worker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub

pytestmark = pytest.mark.timed

ROOT = Path(__file__).resolve().parents[3]
MIB = 1024 * 1024
RAW = pb.RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16_000)
FAST = pb.RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=192_000)
SECOND = b"\0\0\1\0" * 8_000  # not quite silence, which is not computed
REQUEST = pb.TranscribeRequest(config=RAW, audio=SECOND)
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


class Stream:
    """A stream that is accepted, and sends its audio when :meth:`finish` is called."""

    def __init__(self, stub: SpeechStub, before: bytes = b"") -> None:
        self._may_end = threading.Event()
        self._call = stub.TranscribeStream(self._requests(before), timeout=120)
        assert next(self._call).started.model

    def _requests(self, before: bytes):
        yield pb.TranscribeStreamRequest(config=FAST if before else RAW)
        for place in range(0, len(before), MIB):
            yield pb.TranscribeStreamRequest(audio_content=before[place : place + MIB])
        assert self._may_end.wait(60)
        yield pb.TranscribeStreamRequest(audio_content=SECOND)

    def let_go(self) -> None:
        self._may_end.set()

    def seconds(self) -> float:
        """The length of the audio, of which there is a result."""
        self._may_end.set()
        return next(self._call).result.result_end_time.ToNanoseconds() / 1e9


def refusal(stub: SpeechStub) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Transcribe(REQUEST, timeout=30)
    return caught.value


@pytest.fixture
def begin(start):
    """``begin(bundle, *options)``: a server and its address; killed if it still runs at the end."""
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: object) -> tuple[subprocess.Popen[str], str]:
        process, address = start(*arguments)
        processes.append(process)
        return process, address

    yield run
    for process in processes:
        process.kill()
        process.communicate()


# Stopping


def test_a_stop_under_a_hundred_calls_answers_all_of_them_and_no_new_one(begin, bundle_path):
    process, address = begin(
        *(bundle_path, "--running", "4", "--waiting", "96", "--grace-seconds", "30"),
        *("--log-level", "error"),
    )
    with grpc.insecure_channel(address) as channel:
        stub = SpeechStub(channel)
        watch = HealthStub(channel).Watch(HealthCheckRequest(), timeout=60)
        assert next(watch).status == SERVING
        streams = [Stream(stub) for _ in range(100)]
        assert refusal(stub).code() == grpc.StatusCode.RESOURCE_EXHAUSTED, "there are 100 places"
        stopped = time.monotonic()
        process.terminate()
        assert next(watch).status == NOT_SERVING, "told while every call is still open"
        with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as other:
            for each in (stub, SpeechStub(other)):
                assert refusal(each).code() == grpc.StatusCode.UNAVAILABLE
        for stream in streams:
            stream.let_go()
        assert [stream.seconds() for stream in streams] == [1.0] * 100
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert errors == ""
    assert time.monotonic() - stopped < 30


STUCK = """
import ctypes, sys
from asr.decoding.greedy import GreedyDecoder
from asr.recognizer import Recognizer
from server.main import main
warming_up = []
recognize, honest = Recognizer.recognize, METHOD
def warm_up(self, *given, **more):
    warming_up.append(True)
    try:
        return recognize(self, *given, **more)
    finally:
        warming_up.pop()
def stuck(self, *given, **more):
    if not warming_up:
        print("stuck", flush=True)
        ctypes.CDLL(None).sleep(1000)  # native code: nothing in Python ends it
    return honest(self, *given, **more)
Recognizer.recognize, METHOD = warm_up, stuck
sys.exit(main())
"""


@pytest.mark.parametrize(
    "method",
    ["Recognizer.log_probs", pytest.param("GreedyDecoder.decode", marks=pytest.mark.slow)],
)
def test_a_call_stuck_in_native_code_is_left_at_the_end_of_the_grace_time(bundle_path, method):
    command = [sys.executable, "-c", STUCK.replace("METHOD", method), "--model", str(bundle_path)]
    process = subprocess.Popen(
        [*command, "--port", "0", "--grace-seconds", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1]
    with grpc.insecure_channel(address) as channel:
        call = SpeechStub(channel).Transcribe.future(REQUEST, timeout=60)
        assert process.stdout.readline() == "stuck\n"
        assert stopping_time(process) == pytest.approx(2.0, abs=1.0)
        assert call.exception(timeout=30) is not None


def test_a_stuck_audio_worker_is_left_too(begin, bundle_path, children_of):
    process, address = begin(bundle_path, "--audio-processes", "1", "--grace-seconds", "2")
    [child] = children_of(process.pid)
    os.kill(child, signal.SIGSTOP)
    with grpc.insecure_channel(address) as channel:
        stream = Stream(SpeechStub(channel))
        stream.let_go()
        HealthStub(channel).Check(HealthCheckRequest(), timeout=30)
        assert stopping_time(process) == pytest.approx(2.0, abs=1.0)
    assert not Path(f"/proc/{child}").exists()


def stopping_time(process: subprocess.Popen[str]) -> float:
    """Seconds from the signal to the end; calls were cut off, and the log and the status say so."""
    process.terminate()
    stopped = time.monotonic()
    _, errors = process.communicate(timeout=30)
    seconds = time.monotonic() - stopped
    assert process.returncode == 1
    assert "calls were cut off" in errors
    assert "Traceback" not in errors
    return seconds


# Starting


def truncate(bundle: Path) -> None:
    weights = bundle / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def exchange(bundle: Path) -> None:
    tokens = bundle / "tokens.txt"
    tokens.write_text(tokens.read_text().replace("a", "z"))


def empty(bundle: Path) -> None:
    (bundle / "config.json").write_text("{}")


@pytest.mark.parametrize(
    ("option", "damage"),
    [
        ("--model", truncate),
        ("--model-repository", exchange),
        pytest.param("--model", empty, marks=pytest.mark.slow),
    ],
)
def test_a_bad_bundle_ends_the_start_within_ten_seconds(bundle_path, tmp_path, option, damage):
    bad = shutil.copytree(bundle_path, tmp_path / "models" / "bad")
    damage(bad)
    place = bad if option == "--model" else bad.parent
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "server.main", option, str(place), "--port", "0"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert time.monotonic() - begun < 10
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("asr-server: error: ")
    assert "Traceback" not in done.stderr


def test_a_second_server_on_the_port_does_not_start(address, bundle_path):
    port = address.split(":")[1]
    done = subprocess.run(
        [sys.executable, "-m", "server.main", "--model", str(bundle_path), "--port", port],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"127.0.0.1:{port}: the server cannot listen there" in done.stderr.splitlines()[-1]
    with grpc.insecure_channel(address) as channel:
        assert SpeechStub(channel).Transcribe(REQUEST, timeout=30).results, "the first is unharmed"


# Short of memory


def test_above_the_memory_mark_new_calls_are_refused_and_accepted_ones_finish(
    begin, bundle_path, memory
):
    process, _ = begin(bundle_path)
    idle = memory(process.pid)
    process.terminate()
    process.communicate(timeout=30)
    mark = idle // MIB + 60
    process, address = begin(bundle_path, "--memory-mark", str(mark), "--log-level", "error")
    with grpc.insecure_channel(address) as channel:
        stub = SpeechStub(channel)
        assert stub.Transcribe(REQUEST, timeout=30).results
        streams = [Stream(stub, bytes(60 * MIB)) for _ in range(2)]
        until(lambda: memory(process.pid) > (mark + 30) * MIB)
        error = refusal(stub)
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "memory" in error.details()
        length = (60 * MIB + len(SECOND)) / (2 * FAST.sample_rate_hertz)
        assert [stream.seconds() for stream in streams] == pytest.approx([length] * 2)
        until(lambda: is_answered(stub))
        assert memory(process.pid) < mark * MIB
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def is_answered(stub: SpeechStub) -> bool:
    call = stub.Transcribe.future(REQUEST, timeout=30)
    if call.exception() is not None:
        assert call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    return call.exception() is None


def until(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.001)


# Losing an audio worker


def test_a_killed_audio_worker_fails_the_call_that_it_had_and_the_next_is_answered_within_a_second(
    serving, stand_in
):
    """Eight calls: the first is at work when its process is killed, the others wait for it."""
    delays = []
    with serving(stand_in(), audio_processes=1) as running:
        for _ in range(3):
            [process] = running.application._audio._processes.values()
            before = process.jobs
            os.kill(process.pid, signal.SIGSTOP)
            calls = [running.stub.Transcribe.future(REQUEST, timeout=60) for _ in range(8)]
            until(lambda process=process, before=before: process.jobs == before + 1)
            running.settle(8)
            os.kill(process.pid, signal.SIGKILL)
            killed = time.monotonic()
            assert running.stub.Transcribe(REQUEST, timeout=30).results
            delays.append(time.monotonic() - killed)
            errors = [error for call in calls if (error := call.exception(timeout=30))]
            [error] = errors
            assert error.code() == grpc.StatusCode.INTERNAL
            request_id = dict(error.trailing_metadata())["x-request-id"]
            assert error.details().endswith(f"its log tells more under request {request_id}")
    assert min(delays) < 1.0  # others may use this machine too
