"""Every limit holds, to the byte and to the frame, by every way into the service."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import grpc
import numpy as np
import pytest
from limit_table import BEYOND, FILE, LIVE, WITHIN, raw, wav  # beside conftest.py, which loads it

from server.api import upload
from server.limits import AUDIO_BYTES, MAX_RATE, MESSAGE_LIMIT
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub

OK, INVALID = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
METHODS = ("Transcribe", "TranscribeChunks", "TranscribeStream")
STREAMS = METHODS[1:]
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def running(serving, stand_in):
    """A server whose model costs nothing; decoding audio is the real thing."""
    with serving(stand_in()) as running:
        yield running
        request = pb.TranscribeRequest(config=raw(), audio=bytes(32_000))
        assert running.stub.Transcribe(request, timeout=30).results, "the server is alive"


@pytest.fixture(scope="module")
def stub(running):
    return running.stub


# One table for every entry


@pytest.mark.parametrize("limit", BEYOND)
def test_every_method_refuses_alike_what_is_beyond_a_limit(stub, transcribe_by, limit):
    config, audio, words = BEYOND[limit]
    [(code, details)] = {transcribe_by(stub, method, config, audio) for method in METHODS}
    assert code == INVALID
    assert words in details


@pytest.mark.parametrize("limit", [limit for limit in BEYOND if limit != "boost"])
def test_so_does_the_door_of_rivas_clients(running, riva_door, limit):
    """In the same words; what Riva calls a boost has no such limit."""
    config, audio, words = BEYOND[limit]
    code, details = riva_door.ask(running.channel, config, audio)
    assert code == INVALID
    assert words in details


@pytest.mark.parametrize("limit", WITHIN)
def test_so_does_the_door_of_rivas_clients_at_a_limit(running, transcribe_by, riva_door, limit):
    given, audio = WITHIN[limit]
    config = pb.RecognitionConfig(audio_channel=1)  # the one that Riva hears
    config.MergeFrom(given)
    code, result = riva_door.ask(running.channel, config, audio)
    assert code == OK
    if not config.speech_contexts:  # whose boosts are told in the text
        _, expected = transcribe_by(running.stub, "Transcribe", config, audio)
        texts = [alternative.transcript.strip() for alternative in result.alternatives]
        assert texts[0] == expected.alternatives[0].transcript


@pytest.fixture(scope="module")
def live_channel(address):
    with grpc.insecure_channel(address) as channel:
        yield channel


def stream_live(channel, config, audio):
    """The status, with its message, of a live stream with ``audio``."""
    message = pb.TranscribeStreamRequest
    asked = pb.StreamingRecognitionConfig(config=config)
    pieces = (audio[place : place + MIB] for place in range(0, len(audio), MIB))
    messages = [
        message(streaming_config=asked),
        *(message(audio_content=piece) for piece in pieces),
    ]
    try:
        list(SpeechStub(channel).TranscribeStream(iter(messages), timeout=120))
    except grpc.RpcError as error:
        return error.code(), error.details()
    return OK, None


@pytest.fixture(params=["asr.v1", "riva"])
def live(request):
    """How a door's clients send a live stream."""
    if request.param == "riva":
        return request.getfixturevalue("riva_door").stream
    return stream_live


@pytest.mark.parametrize("limit", LIVE)
def test_live_streams_refuse_alike_what_is_beyond_a_limit(live_channel, live, limit):
    config, audio, words = BEYOND[limit]
    code, details = live(live_channel, config, audio)
    if limit == "boost" and live is not stream_live:  # what Riva calls so has no such limit
        assert code == OK
        return
    assert code == INVALID
    assert words in details


@pytest.mark.parametrize("limit", WITHIN)
def test_live_streams_take_what_is_at_a_limit(live_channel, live, limit):
    config, audio = WITHIN[limit]
    assert live(live_channel, config, audio) == (OK, None)


def test_the_largest_message_of_rivas_clients_is_as_large(running, riva_door):
    stub = riva_door.stub(running.channel)
    request = riva_door.request(raw("MULAW", 8_000), bytes(MESSAGE_LIMIT - 100))
    for size, expected in ((MESSAGE_LIMIT, OK), (MESSAGE_LIMIT + 1, EXHAUSTED)):
        request.audio += bytes(size - request.ByteSize())
        assert request.ByteSize() == size
        call = stub.Recognize.future(request, timeout=60)
        assert call.code() == expected


@pytest.mark.parametrize("limit", WITHIN)
def test_every_method_takes_what_is_at_a_limit(stub, transcribe_by, limit):
    config, audio = WITHIN[limit]
    answers = [transcribe_by(stub, method, config, audio) for method in METHODS]
    assert [code for code, _ in answers] == [OK] * 3
    assert answers[0] == answers[1] == answers[2]


# To the byte


def message_of(size: int) -> pb.TranscribeRequest:
    """A request of so many bytes, as serialised; u-law, where every byte is a sample."""
    request = pb.TranscribeRequest(config=raw("MULAW", 8_000), audio=bytes(size - 100))
    request.audio += bytes(size - request.ByteSize())
    assert request.ByteSize() == size
    return request


def stream_of(method: str, size: int):
    """A stream whose second message has so many bytes."""
    message = getattr(pb, f"{method}Request")
    yield message(config=raw("MULAW", 8_000))
    second = message(audio_content=bytes(size - 100))
    second.audio_content += bytes(size - second.ByteSize())
    assert second.ByteSize() == size
    yield second


@pytest.mark.parametrize("compression", list(grpc.Compression), ids=lambda it: it.name)
@pytest.mark.parametrize("method", METHODS)
def test_the_largest_message_is_taken_and_a_byte_more_is_not(stub, method, compression):
    """Compressed, both are small: what counts is the message."""
    for size in (MESSAGE_LIMIT, MESSAGE_LIMIT + 1):
        request = message_of(size) if method == "Transcribe" else stream_of(method, size)
        code = OK
        try:
            answer = getattr(stub, method)(request, timeout=60, compression=compression)
            assert list(answer) if method == "TranscribeStream" else answer.results
        except grpc.RpcError as error:
            code = error.code()
        assert code == (OK if size == MESSAGE_LIMIT else EXHAUSTED)


@pytest.fixture(params=[3 * MIB, pytest.param(AUDIO_BYTES, marks=pytest.mark.slow)])
def most(request, monkeypatch):
    """The limit of a stream's bytes: a small one in its place, and the real one."""
    monkeypatch.setattr(upload, "AUDIO_BYTES", request.param)
    return request.param


@pytest.mark.parametrize("method", STREAMS)
def test_the_largest_stream_is_taken(stub, transcribe_by, method, most):
    code, result = transcribe_by(stub, method, raw("MULAW", MAX_RATE), bytes(most))
    assert code == OK
    assert result.result_end_time.ToNanoseconds() == round(most / MAX_RATE * 1e9)


@pytest.mark.parametrize("method", STREAMS)
def test_a_byte_more_in_a_stream_is_refused_before_the_stream_ends(stub, method, most):
    message = getattr(pb, f"{method}Request")
    refused = threading.Event()

    def requests():
        yield message(config=raw("MULAW", MAX_RATE))
        for _ in range(most // MIB):
            yield message(audio_content=bytes(MIB))
        yield message(audio_content=b"\0")
        refused.wait(60)  # it goes on

    with pytest.raises(grpc.RpcError) as caught:  # noqa: PT012
        answer = getattr(stub, method)(requests(), timeout=50)
        list(answer)
    refused.set()
    assert caught.value.code() == INVALID
    assert f"more than {most} bytes" in caught.value.details()


# Bombs


@pytest.fixture(scope="module")
def bombs(rubbish) -> dict[str, tuple[bytes, str]]:
    """Files of silence by name, and what is said of them."""
    eight = rubbish.silence(48, 48_000, 8, "FLAC", "PCM_16")  # 70 MiB as float32
    return {
        "FLAC": (rubbish.silence(360, 48_000, 1, "FLAC", "PCM_16"), "expands"),
        "8-channel FLAC": (eight, "expands"),
        "8-channel FLAC of an impossible rate": (
            *(rubbish.flac_claiming(eight, rate=655_350), "655350 Hz"),
        ),
        "8-channel FLAC that is short in seconds": (
            *(rubbish.flac_claiming(eight, rate=MAX_RATE), "expands"),
        ),
        "Vorbis": (rubbish.silence(48, 48_000, 8, "OGG", "VORBIS"), "expands"),
        "Opus": (rubbish.silence(185, 48_000, 2, "OGG", "OPUS"), "expands"),
        **({"Matroska": (_matroska(rubbish), "expands")} if find_spec("av") else {}),
    }


def _matroska(rubbish) -> bytes:
    return rubbish.foreign(np.zeros(185 * 48_000, np.float32), 48_000, "Matroska FLAC")


def lying_headers() -> list[bytes]:
    """Small WAV files that claim to be large."""
    honest = wav(1_000)
    lengths = (0, 2**31 - 1, 2**32 - 1, 999, 2_001)
    return [
        honest[:place] + struct.pack("<I", length) + honest[place + 4 : end]
        for length in lengths
        for place in (4, 40)
        for end in (len(honest), 100, 101)
    ]


@pytest.fixture
def growth(start, bundle_path, children_of, memory):
    """``growth(use)``: calls ``use(stub)``; gives the bytes that the server and its process for
    audio take at their peaks beyond what they had.
    """
    process, address = start(bundle_path, "--audio-processes", "1", "--log-level", "error")

    def measure(use) -> int:
        family = [process.pid, *children_of(process.pid)]
        for pid in family:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
        before = sum(map(memory, family))
        use()
        assert [process.pid, *children_of(process.pid)] == family, "nothing crashed"
        return sum(memory(pid, "VmHWM") for pid in family) - before

    with grpc.insecure_channel(address) as channel:
        stub = SpeechStub(channel)
        samples = np.random.default_rng(0).integers(-99, 99, 16_000, "<i2").tobytes()
        for _ in range(3):
            stub.Transcribe(pb.TranscribeRequest(config=raw(), audio=samples), timeout=60)
        yield lambda use: measure(lambda: use(stub))
    process.terminate()
    process.communicate(timeout=30)


def test_refusing_bombs_takes_little_memory(growth, bombs, transcribe_by):
    """All of them by every method, one after the other; libsndfile's own share counts too."""

    def use(stub):
        for name, (bomb, words) in bombs.items():
            for method in METHODS:
                code, details = transcribe_by(stub, method, FILE, bomb)
                assert code == INVALID, name
                assert words in details, name

    assert growth(use) < 64 * MIB


def lying_tables(rubbish) -> Iterator[bytes]:
    """MP4 files of a few kilobytes whose tables claim to be large, each number in turn."""
    for kind in ("M4A AAC", "MP4 in pieces", "QuickTime PCM"):
        honest = rubbish.foreign(np.zeros(16_000, np.float32), 16_000, kind)
        for box in (b"stsz", b"stsc", b"stco", b"stts", b"trun", b"elst", b"stsd", b"esds"):
            if (place := honest.find(box)) >= 0:
                for offset in range(8, 24, 4):
                    for number in (2**24, 2**31 - 1):
                        yield (
                            honest[: place + offset]
                            + struct.pack(">I", number)
                            + honest[place + offset + 4 :]
                        )


def test_no_memory_is_taken_by_what_the_tables_of_mp4_say(growth, transcribe_by, rubbish):
    pytest.importorskip("av", reason="the extra `formats` is not installed")

    def use(stub):
        answers = [transcribe_by(stub, "Transcribe", FILE, lie) for lie in lying_tables(rubbish)]
        assert {code for code, _ in answers} <= {OK, INVALID}
        assert len(answers) > 100

    assert growth(use) < 100 * MIB  # FFmpeg itself takes 35, once


def test_no_memory_is_taken_by_what_a_header_says(growth, transcribe_by):
    def use(stub):
        answers = [transcribe_by(stub, "Transcribe", FILE, audio) for audio in lying_headers()]
        assert {code for code, _ in answers} <= {OK, INVALID}

    assert growth(use) < 64 * MIB
