"""What the client sends how, and what it says when there is no answer."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading

import grpc
import pytest

from server.client import Client, ClientError, Model, RecognitionConfig
from server.client.requests import Audio
from server.client.turns import read_results
from server.limits import MESSAGE_LIMIT
from server.pb.v1 import speech_pb2 as pb

RAW = RecognitionConfig(
    encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16000, enable_word_time_offsets=True
)
ROOM = MESSAGE_LIMIT - pb.TranscribeRequest(config=RAW).ByteSize() - 5  # tag, length in 4 bytes


def audio_of(size: int) -> bytes:
    """Bytes of which no piece looks like another."""
    return os.urandom(size)


@pytest.mark.parametrize(
    ("size", "method"),
    [
        (0, "Transcribe"),
        (32000, "Transcribe"),
        (ROOM, "Transcribe"),
        (ROOM + 1, "TranscribeChunks"),
        (MESSAGE_LIMIT, "TranscribeChunks"),
        (3 * MESSAGE_LIMIT + 1, "TranscribeChunks"),
    ],
)
def test_audio_goes_in_pieces_when_it_does_not_fit_into_a_message(fake, tmp_path, size, method):
    audio = audio_of(size)
    file = tmp_path / "audio"
    file.write_bytes(audio)
    with Client(fake.address) as client:
        answers = [
            client.transcribe(audio, RAW),
            client.transcribe(io.BytesIO(audio), RAW),
            client.transcribe_file(file, RAW),
        ]
    assert fake.methods == [method] * 3
    assert all(heard.audio == audio and heard.config == RAW for heard in fake.heard)
    assert [answer.text for answer in answers] == [f"{size} bytes"] * 3


def test_an_open_file_is_sent_from_where_it_stands(fake):
    audio = audio_of(MESSAGE_LIMIT + 1000)
    file = io.BytesIO(audio)
    file.seek(900)
    with Client(fake.address) as client:
        client.transcribe(file, RAW)
    assert fake.heard[0].audio == audio[900:]


def test_a_file_that_reads_less_than_it_was_asked_for_is_read_to_its_end():
    data = audio_of(300_000)

    class Trickle(io.RawIOBase):
        """As a pipe that is opened without a buffer."""

        def __init__(self):
            self.left = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, space):
            return self.left.readinto(memoryview(space)[:65536])

    request = Audio(Trickle()).single_request(RAW)
    assert request is not None
    assert request.audio == data


def test_who_read_the_audio_for_an_attempt_reads_none_of_the_next():
    """The thread that feeds a call goes on for a moment when the call is over."""
    data = audio_of(2 * MESSAGE_LIMIT)
    audio = Audio(data)
    assert audio.single_request(RAW) is None
    before = audio.pieces()
    audio.rewind()
    assert b"".join(before) == data[:MESSAGE_LIMIT], "what was read already"
    assert b"".join(audio.pieces()) == data


def test_a_transcription_has_all_that_the_server_said(fake):
    config = RecognitionConfig(decoder="prefix", max_alternatives=2, enable_word_time_offsets=True)
    with Client(fake.address) as client:
        transcription = client.transcribe(b"four", config)
    best, second = transcription.hypotheses
    assert transcription.duration == 1.0
    assert (best.text, best.score, best.confidence) == ("4 bytes", -1.5, 0.5)
    assert (best.search, second.search) == ("exact", None)
    four, size = best.words
    assert (four.text, four.start, four.end, four.confidence) == ("4", 0.125, 0.5, 0.75)
    assert (size.text, size.start, size.end, size.confidence) == ("bytes", 0.5, 1.0, 0.25)


@pytest.mark.parametrize(
    ("proof", "search"),
    [("UNSPECIFIED", None), ("EXACT", "exact"), ("SECTIONED", "sectioned"), ("CUT", "cut")],
)
def test_proofs_have_the_names_of_asr(serve_fake, proof, search):
    alternative = pb.SpeechRecognitionAlternative(search_proof=f"SEARCH_PROOF_{proof}")
    result = pb.SpeechRecognitionResult(alternatives=[alternative])
    with Client(serve_fake(result=lambda *_: result).address) as client:
        assert client.transcribe(b"").hypotheses[0].search == search


def test_models_are_described(fake):
    with Client(fake.address) as client:
        letters, phones = client.list_models()
        assert client.get_model() == letters
        assert client.get_model("phones") == phones
        with pytest.raises(ClientError, match="there is no model 'words'") as caught:
            client.get_model("words")
    assert caught.value.code == grpc.StatusCode.NOT_FOUND
    assert letters == Model(
        name="letters",
        is_default=True,
        sample_rate=16000,
        answers_at_end=True,
        vocabulary_size=28,
        frame_step=0.02,
        default_decoder="beam",
        decoders=("greedy", "beam", "prefix"),
        fingerprint="ab" * 32,
        has_language_model=True,
    )


def test_a_refusal_is_told_as_the_server_put_it(serve_fake, failure):
    fake = serve_fake(None, failure("INVALID_ARGUMENT", "the audio is\nempty"))
    with Client(fake.address) as client, pytest.raises(ClientError) as caught:
        client.transcribe(b"")
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert str(caught.value) == "the audio is empty"


@pytest.mark.parametrize(
    ("code", "details", "told"),
    [
        ("UNAUTHENTICATED", "no token", "no token (give --token-file)"),
        ("RESOURCE_EXHAUSTED", "32 calls", "is full: 32 calls (try again later)"),
        ("UNAVAILABLE", "stopping", "is not available: stopping (check that asr-server"),
        (
            "DEADLINE_EXCEEDED",
            "the upload is too slow",
            "DEADLINE_EXCEEDED: the upload is too slow",
        ),
        ("INTERNAL", "a defect", "answered INTERNAL: a defect"),
    ],
)
def test_errors_name_the_server_and_the_remedy(serve_fake, failure, code, details, told):
    fake = serve_fake(None, failure(code, details))
    with Client(fake.address, retries=0) as client, pytest.raises(ClientError) as caught:
        client.transcribe(b"")
    assert caught.value.code == grpc.StatusCode[code]
    assert told in str(caught.value)
    assert fake.address in str(caught.value)


def test_a_server_that_is_not_there_is_named():
    with Client("127.0.0.1:9", retries=0) as client:
        for call in (client.list_models, lambda: client.transcribe(bytes(MESSAGE_LIMIT))):
            with pytest.raises(ClientError) as caught:
                call()
            assert caught.value.code == grpc.StatusCode.UNAVAILABLE
            assert "the server at 127.0.0.1:9 is not available" in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [100, MESSAGE_LIMIT])
def test_a_server_that_does_not_answer_is_left_after_the_timeout(serve_fake, gate, size):
    fake = serve_fake(hook=lambda _: gate.wait(30))
    with Client(fake.address, timeout=0.3) as client:
        with pytest.raises(ClientError, match=r"no answer from .* within 0.3 s") as caught:
            client.transcribe(bytes(size), RAW)
        assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
        gate.set()


@pytest.mark.parametrize("size", [100, MESSAGE_LIMIT])
def test_closing_the_client_ends_its_calls(serve_fake, gate, size):
    reached = threading.Event()

    def hold(_: bytes) -> None:
        reached.set()
        gate.wait(30)

    fake = serve_fake(hook=hold)
    client = Client(fake.address)
    outcome: list[BaseException] = []

    def call() -> None:
        with pytest.raises(ClientError) as caught:
            client.transcribe(bytes(size))
        outcome.append(caught.value)

    thread = threading.Thread(target=call)
    thread.start()
    assert reached.wait(30)
    client.close()
    thread.join(30)
    assert isinstance(outcome[0], ClientError)
    assert outcome[0].code == grpc.StatusCode.CANCELLED


class Breaking(io.BytesIO):
    """A file on a medium that fails in its middle."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > MESSAGE_LIMIT:
            raise OSError(5, "Input/output error")
        return super().read(size)


def test_a_file_that_breaks_off_is_not_transcribed_without_its_end(fake, caplog):
    with Client(fake.address) as client, pytest.raises(OSError, match="Input/output error"):
        client.transcribe(Breaking(bytes(2 * MESSAGE_LIMIT)))
    assert caplog.records == [], "no traceback of another thread in the log"


@pytest.mark.parametrize("name", ["missing.wav", "."])
def test_a_file_that_cannot_be_read_needs_no_server(tmp_path, name):
    with Client("127.0.0.1:9") as client, pytest.raises(ClientError, match="cannot be read") as e:
        client.transcribe_file(tmp_path / name)
    assert e.value.code is None


def test_an_answer_without_a_result_is_an_error():
    with pytest.raises(ClientError, match="without a result"):
        read_results([])


def test_every_call_has_a_name_for_the_servers_log(serve_fake, failure):
    fake = serve_fake()
    with Client(fake.address) as client:
        client.transcribe(b"")
        client.transcribe(bytes(MESSAGE_LIMIT))
        list(client.stream([b""]))
        client.list_models()
        client.get_model()
        client.transcribe(b"", request_id="mine:1")
        names = [heard.metadata["x-request-id"] for heard in fake.heard]
        assert len(set(names)) == 6
        assert all(0 < len(name) <= 64 and name.isascii() for name in names)
        assert names[-1] == "mine:1"

        fake.speech.failures.append(failure("INTERNAL", "a defect"))
        with pytest.raises(ClientError) as caught:
            client.transcribe(b"")
    assert caught.value.request_id == fake.heard[-1].metadata["x-request-id"]


def test_all_attempts_of_a_call_have_one_name(serve_fake, failure):
    fake = serve_fake(None, *[failure() for _ in range(3)])
    with Client(fake.address) as client:
        client.transcribe(b"", request_id="unary")
        fake.speech.failures += [failure(), failure()]
        client.transcribe(bytes(MESSAGE_LIMIT), request_id="chunks")
    names = [heard.metadata["x-request-id"] for heard in fake.heard]
    assert names == ["unary"] * 4 + ["chunks"] * 3


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "ü", "x" * 65])
def test_what_cannot_name_a_call_is_refused(fake, name):
    with Client(fake.address) as client:
        for call in (client.list_models, lambda **given: client.stream([], **given)):
            with pytest.raises(ClientError, match="cannot name a call"):
                call(request_id=name)
    assert fake.heard == []


def test_the_client_needs_grpc_and_protobuf_only():
    """The command needs our own formats as well, and nothing else."""
    program = """
import sys
absent = ("torch", "numpy", "soundfile", "librosa", "rich", "grpc_health", "sounddevice")
for name in ("asr", *absent):
    sys.modules[name] = None  # to import it fails, as if it were not installed
import server.client
del sys.modules["asr"]
import server.client_cli.main
server.client_cli.main.main(["--help"])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: asr-client")
