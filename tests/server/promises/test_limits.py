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

from server.limits import (
    AUDIO_BYTES,
    AUDIO_SECONDS,
    MAX_ALTERNATIVES,
    MAX_BEAM_WIDTH,
    MAX_BOOST,
    MAX_CHANNELS,
    MAX_PHRASE_CHARACTERS,
    MAX_PHRASES,
    MAX_RATE,
    MESSAGE_LIMIT,
    MIN_RATE,
    PREFIX_ALTERNATIVES,
    PREFIX_SECONDS,
)
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub

OK, INVALID = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
METHODS = ("Transcribe", "TranscribeChunks", "TranscribeStream")
STREAMS = METHODS[1:]
MIB = 1024 * 1024
FILE = pb.RecognitionConfig()


def raw(encoding: str = "LINEAR16", rate: int = 16_000, **more) -> pb.RecognitionConfig:
    return pb.RecognitionConfig(
        encoding=f"AUDIO_ENCODING_{encoding}", sample_rate_hertz=rate, **more
    )


def hoping(phrases: list[str], boost: float = 0.0) -> pb.RecognitionConfig:
    return raw(speech_contexts=[pb.SpeechContext(phrases=phrases, boost=boost)])


def wav(frames: int, rate: int = 16_000, channels: int = 1, bits: int = 16) -> bytes:
    """A WAV file of silence."""
    step = channels * bits // 8
    size = frames * step
    head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt "
    fields = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * step, step, bits)
    return head + fields + b"data" + struct.pack("<I", size) + bytes(size)


@pytest.fixture(scope="module")
def stub(serving, stand_in):
    """A server whose model costs nothing; decoding audio is the real thing."""
    with serving(stand_in()) as running:
        yield running.stub
        request = pb.TranscribeRequest(config=raw(), audio=bytes(32_000))
        assert running.stub.Transcribe(request, timeout=30).results, "the server is alive"


# One table for every entry

SECOND = bytes(32_000)
TOO_LONG = bytes(int(MIN_RATE * AUDIO_SECONDS) + 1)
BEYOND = {  # configuration, audio, words of the refusal
    "rate below": (raw(rate=MIN_RATE - 1), SECOND, "3999 Hz (use 4000 to 192000 Hz)"),
    "rate above": (raw(rate=MAX_RATE + 1), SECOND, "192001 Hz (use 4000 to 192000 Hz)"),
    "rate negative": (raw(rate=-16_000), SECOND, "-16000 Hz (use 4000 to 192000 Hz)"),
    "rate below, in a header": (FILE, wav(16_000, MIN_RATE - 1), "3999 Hz (use 4000 to 192000 Hz)"),
    "rate above, in a header": (
        *(FILE, wav(16_000, MAX_RATE + 1)),
        "192001 Hz (use 4000 to 192000 Hz)",
    ),
    "channels": (raw(audio_channel_count=MAX_CHANNELS + 1), bytes(36_000), "9 channels (use 1 to"),
    "channels negative": (raw(audio_channel_count=-1), SECOND, "-1 channels (use 1 to 8)"),
    "channels, in a header": (
        FILE,
        wav(8_000, 16_000, MAX_CHANNELS + 1),
        "9 channels (use 1 to 8)",
    ),
    "channel index": (
        *(raw(audio_channel_count=2, audio_channel=MAX_CHANNELS + 1), SECOND),
        "audio_channel is 9 (give 1 to 8",
    ),
    "channel index negative": (raw(audio_channel=-1), SECOND, "audio_channel is -1 (give 1 to 8"),
    "alternatives": (
        *(raw(beam_width=100, max_alternatives=MAX_ALTERNATIVES + 1), SECOND),
        "max_alternatives is 31 (give 1 to 30",
    ),
    "alternatives negative": (raw(max_alternatives=-1), SECOND, "max_alternatives is -1 (give 1"),
    "beam width": (raw(beam_width=MAX_BEAM_WIDTH + 1), SECOND, "beam_width is 101 (give 1 to 100"),
    "beam width negative": (raw(beam_width=-1), SECOND, "beam_width is -1 (give 1 to 100"),
    "beam width, largest of its type": (raw(beam_width=2**31 - 1), SECOND, "(give 1 to 100"),
    "phrases": (hoping(["a"] * (MAX_PHRASES + 1)), SECOND, "501 phrases (give at most 500)"),
    "characters of phrases": (
        *(hoping(["a" * 100] * 101), SECOND),
        "the phrases have 10100 characters (give at most 10000)",
    ),
    "alternatives of prefix search": (
        *(raw(decoder="prefix", max_alternatives=PREFIX_ALTERNATIVES + 1), SECOND),
        "max_alternatives is 4 (give 1 to 3",
    ),
    "seconds of prefix search": (
        *(raw(decoder="prefix"), bytes(int(PREFIX_SECONDS + 1) * 32_000)),
        "prefix search is for up to 30 s",
    ),
    "alternatives of long audio": (
        *(raw(decoder="beam", beam_width=30, max_alternatives=21), bytes(96 * 32_000)),
        "21 alternatives of 96 s of audio are too many (give at most 2000 divided",
    ),
    "characters of a phrase": (
        *(hoping(["a" * (MAX_PHRASE_CHARACTERS + 1)]), SECOND),
        "201 characters (give at most 200)",
    ),
    "boost": (hoping(["a"], MAX_BOOST + 1), SECOND, "boost is 21 (give a number from -20 to 20)"),
    "boost, no number": (hoping(["a"], float("nan")), SECOND, "boost is nan (give a number"),
    "language model's weight": (raw(lm_weight=101.0), SECOND, "the model has no language model"),
    "seconds": (raw("MULAW", MIN_RATE), TOO_LONG, "longer than 600 s (cut it into shorter pieces)"),
    "seconds, in a header": (
        *(FILE, wav(len(TOO_LONG), MIN_RATE, bits=8)),
        "longer than 600 s (cut it into shorter pieces)",
    ),
}


@pytest.mark.parametrize("limit", BEYOND)
def test_every_method_refuses_alike_what_is_beyond_a_limit(stub, transcribe_by, limit):
    config, audio, words = BEYOND[limit]
    [(code, details)] = {transcribe_by(stub, method, config, audio) for method in METHODS}
    assert code == INVALID
    assert words in details


WITHIN = {
    "rate low": (raw(rate=MIN_RATE), SECOND),
    "rate high": (raw(rate=MAX_RATE), bytes(2 * MAX_RATE)),
    "rate low, in a header": (FILE, wav(MIN_RATE, MIN_RATE)),
    "rate high, in a header": (FILE, wav(MAX_RATE, MAX_RATE)),
    "channels": (raw(audio_channel_count=MAX_CHANNELS, audio_channel=MAX_CHANNELS), SECOND),
    "channels, in a header": (FILE, wav(8_000, 16_000, MAX_CHANNELS)),
    "phrases": (hoping(["a"] * MAX_PHRASES, MAX_BOOST), SECOND),
    "characters of a phrase": (hoping(["a" * MAX_PHRASE_CHARACTERS], -MAX_BOOST), SECOND),
    "decoder": (raw(beam_width=MAX_BEAM_WIDTH, max_alternatives=MAX_ALTERNATIVES), SECOND),
}


@pytest.mark.parametrize("limit", WITHIN)
def test_every_method_takes_what_is_at_a_limit(stub, transcribe_by, limit):
    config, audio = WITHIN[limit]
    answers = [transcribe_by(stub, method, config, audio) for method in METHODS]
    assert [code for code, _ in answers] == [OK] * 3
    assert answers[0] == answers[1] == answers[2]


# To the frame

LONGEST = {  # methods, configuration, rate, bytes of a frame, does it need a header
    "u-law in one message": (METHODS, raw("MULAW", MIN_RATE), MIN_RATE, 1, False),
    "WAV in one message": (METHODS, FILE, MIN_RATE, 1, True),
    "LINEAR16 at 16 kHz": (STREAMS, raw(), 16_000, 2, False),
    "WAV at 48 kHz": (STREAMS[:1], FILE, 48_000, 2, True),
    "u-law at an odd rate": (STREAMS[:1], raw("MULAW", 11_025), 11_025, 1, False),
}


@pytest.mark.parametrize("name", LONGEST)
def test_the_longest_audio_is_taken_and_a_frame_more_is_not(stub, transcribe_by, name):
    methods, config, rate, step, has_header = LONGEST[name]
    longest = int(AUDIO_SECONDS * rate)
    for method in methods:
        for frames in (longest, longest + 1):
            audio = wav(frames, rate, bits=8 * step) if has_header else bytes(frames * step)
            code, answer = transcribe_by(stub, method, config, audio)
            if frames == longest:
                assert code == OK, answer
                assert answer.result_end_time.ToNanoseconds() == AUDIO_SECONDS * 1e9
            else:
                assert code == INVALID
                assert "longer than 600 s" in answer


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


@pytest.mark.parametrize("method", STREAMS)
def test_the_largest_stream_is_taken(stub, transcribe_by, method):
    code, result = transcribe_by(stub, method, raw("MULAW", MAX_RATE), bytes(AUDIO_BYTES))
    assert code == OK
    assert result.result_end_time.ToNanoseconds() == round(AUDIO_BYTES / MAX_RATE * 1e9)


@pytest.mark.parametrize("method", STREAMS)
def test_a_byte_more_in_a_stream_is_refused_before_the_stream_ends(stub, method):
    message = getattr(pb, f"{method}Request")
    refused = threading.Event()

    def requests():
        yield message(config=raw("MULAW", MAX_RATE))
        for _ in range(AUDIO_BYTES // MIB):
            yield message(audio_content=bytes(MIB))
        yield message(audio_content=b"\0")
        refused.wait(60)  # it goes on

    with pytest.raises(grpc.RpcError) as caught:  # noqa: PT012
        answer = getattr(stub, method)(requests(), timeout=50)
        list(answer)
    refused.set()
    assert caught.value.code() == INVALID
    assert f"more than {AUDIO_BYTES} bytes" in caught.value.details()


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
