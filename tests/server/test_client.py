"""The client library: what it sends how, and what it says when there is no answer."""

from __future__ import annotations

import io
import subprocess
import sys
import threading

import grpc
import pytest

from server.client import Client, ClientError, RecognitionConfig
from server.limits import MESSAGE_LIMIT
from server.pb.v1 import speech_pb2 as pb
from server.service import SpeechService

RAW = RecognitionConfig(
    encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16000, enable_word_time_offsets=True
)
ROOM = MESSAGE_LIMIT - pb.TranscribeRequest(config=RAW).ByteSize() - 5  # tag, length in 4 bytes


@pytest.fixture(scope="module")
def running(serving, stand_in):
    with serving(stand_in()) as running:
        yield running


@pytest.fixture
def methods(monkeypatch):
    """The names of the methods called."""
    called: list[str] = []
    for name in ("_transcribe", "_transcribe_chunks"):
        method = getattr(SpeechService, name)

        def record(self, request, name=name, method=method):
            called.append(name)
            return method(self, request)

        monkeypatch.setattr(SpeechService, name, record)
    return called


@pytest.mark.parametrize(
    ("size", "method"),
    [
        (32000, "_transcribe"),
        (ROOM // 2 * 2, "_transcribe"),
        (ROOM // 2 * 2 + 2, "_transcribe_chunks"),
        (MESSAGE_LIMIT, "_transcribe_chunks"),
        (3 * MESSAGE_LIMIT + 2, "_transcribe_chunks"),
    ],
)
def test_audio_is_streamed_when_it_does_not_fit_into_a_message(running, methods, size, method):
    with Client(running.address) as client:
        from_bytes = client.transcribe(bytes(size), RAW)
        from_file = client.transcribe(io.BytesIO(bytes(size)), RAW)
    assert methods == [method, method]
    assert from_bytes == from_file
    assert from_bytes.duration == pytest.approx(size / 32000, abs=1e-9)


def test_a_transcription_has_all_that_the_server_said(running):
    with Client(running.address) as client:
        (best,) = client.transcribe(bytes(32000), RAW).hypotheses
    assert (best.text, best.score, best.confidence) == ("greedy 16 1", -1.5, 0.5)
    one, two = best.words
    assert (one.text, one.start, one.end, one.confidence) == ("one", 0.125, 0.5, 0.75)
    assert (two.text, two.start, two.end, two.confidence) == ("two", 0.5, 1.0, 0.25)


def test_a_refusal_is_told_as_the_server_put_it(running):
    with Client(running.address) as client, pytest.raises(ClientError) as caught:
        client.transcribe(b"")
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "empty" in str(caught.value)


def test_audio_beyond_the_servers_limit_is_refused_with_its_reason(running):
    with Client(running.address) as client, pytest.raises(ClientError, match="more than 67108864"):
        client.transcribe(bytes(65 * 1024 * 1024), RAW)


def test_a_server_that_is_not_there_is_named():
    with Client("127.0.0.1:9") as client, pytest.raises(ClientError) as caught:
        client.transcribe(b"RIFF")
    assert caught.value.code == grpc.StatusCode.UNAVAILABLE
    assert "the server at 127.0.0.1:9 is not available" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_does_not_answer_is_left_after_the_timeout(serving, stand_in):
    gate = threading.Event()

    class Slow(stand_in):
        def recognize(self, waveforms, decoder=None):
            assert decoder is None or gate.wait(30)
            return super().recognize(waveforms, decoder)

    with serving(Slow()) as running:
        with Client(running.address, timeout=0.2) as client:
            for size in (32000, MESSAGE_LIMIT):
                with pytest.raises(ClientError, match=r"no answer from .* within 0.2 s") as caught:
                    client.transcribe(bytes(size), RAW)
                assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
        gate.set()


@pytest.mark.parametrize("name", ["missing.wav", "."])
def test_a_file_that_cannot_be_read_needs_no_server(tmp_path, name):
    with Client("127.0.0.1:9") as client, pytest.raises(ClientError, match="cannot be read"):
        client.transcribe_file(tmp_path / name)


def test_the_client_needs_grpc_and_protobuf_only():
    program = """
import sys
for name in ("torch", "numpy", "soundfile", "librosa", "rich", "grpc_health", "grpc_tools"):
    sys.modules[name] = None  # to import it fails, as if it were not installed
import server.client, server.client_cli
server.client_cli.main(["--help"])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: asr-client")
