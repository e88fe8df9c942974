"""Whatever the bytes and options are, the answer is a transcript or INVALID_ARGUMENT."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub

Send = Callable[[pb.TranscribeRequest], grpc.Future]

SETTINGS = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

lengths = st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]) | st.integers(0, 2**32 - 1)
edits = st.lists(
    st.one_of(
        st.tuples(st.just("byte"), st.integers(0, 20_000), st.integers(0, 255)),
        st.tuples(st.just("header"), st.integers(0, 60), st.integers(0, 255)),
        st.tuples(st.just("length"), st.integers(0, 60), lengths),
        st.tuples(st.just("cut"), st.integers(0, 20_000), st.just(0)),
        st.tuples(st.just("double"), st.integers(0, 20_000), st.just(0)),
    ),
    min_size=1,
    max_size=6,
)
configs = st.builds(
    pb.RecognitionConfig,
    encoding=st.sampled_from([0, 0, 1, 2, 3, -1]),
    sample_rate_hertz=st.sampled_from([0, 0, 8000, 16000, 96000])
    | st.integers(-(2**31), 2**31 - 1),
    audio_channel_count=st.sampled_from([0, 0, 1, 2, 8]) | st.integers(-(2**31), 2**31 - 1),
    decoder=st.sampled_from(["", "greedy", "beam"]) | st.text(max_size=20),
    beam_width=st.integers(-1, 8) | st.sampled_from([2**31 - 1, -(2**31)]),
    max_alternatives=st.integers(-1, 5) | st.sampled_from([2**31 - 1, -(2**31)]),
    enable_word_time_offsets=st.booleans(),
)


@pytest.fixture(scope="module", params=["asr.v1", "riva"])
def send(request, address, samples_of, file_of):
    """A door of a real server; it must transcribe as before when all is over."""
    audio = pb.TranscribeRequest(audio=file_of(samples_of(0, 0.5), 16000, "WAV", "PCM_16"))
    with grpc.insecure_channel(address) as channel:
        speech = SpeechStub(channel)
        before = speech.Transcribe(audio, timeout=30)
        if request.param == "riva":
            door = request.getfixturevalue("riva_door")
            recognize = door.stub(channel).Recognize
            yield lambda asked: recognize.future(
                door.request(asked.config, asked.audio), timeout=60
            )
        else:
            yield lambda asked: speech.Transcribe.future(asked, timeout=60)
        assert speech.Transcribe(audio, timeout=30) == before


@pytest.fixture(scope="module")
def originals(samples_of, file_of) -> list[bytes]:
    samples = samples_of(0, 0.4)
    kinds = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")]
    return [file_of(samples, 16000, *kind) for kind in kinds]


def apply(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    changed = bytearray(data)
    for kind, place, value in changes:
        place %= max(len(changed), 1)
        if kind in ("byte", "header"):
            changed[place : place + 1] = bytes([value])
        elif kind == "length":
            changed[place : place + 4] = struct.pack("<I", value)
        elif kind == "cut":
            del changed[place:]
        else:
            changed[place:place] = changed[place : place + 500]
    return bytes(changed)


def check(send: Send, request: pb.TranscribeRequest) -> None:
    call = send(request)
    if call.exception() is not None:
        assert call.code() == grpc.StatusCode.INVALID_ARGUMENT, call.details()
        assert call.details()
        return
    for result in call.result().results:
        for alternative in result.alternatives:
            assert 0 <= alternative.confidence <= 1
            assert not math.isnan(getattr(alternative, "score", 0.0))


@SETTINGS
@given(data=st.binary(max_size=4000), start=st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS"]))
def test_random_bytes(send, data, start):
    check(send, pb.TranscribeRequest(audio=start + data))


@SETTINGS
@given(which=st.integers(0, 3), changes=edits)
def test_mutated_files(send, originals, which, changes):
    check(send, pb.TranscribeRequest(audio=apply(originals[which], changes)))


@SETTINGS
@given(config=configs, data=st.binary(max_size=4000), repeats=st.integers(1, 4))
def test_random_options_and_samples(send, config, data, repeats):
    check(send, pb.TranscribeRequest(config=config, audio=data * repeats))


@pytest.mark.parametrize("value", [1e30, -3e38, 1e-40, float("inf"), float("nan")])
def test_samples_of_any_size(send, value):
    config = pb.RecognitionConfig(encoding="AUDIO_ENCODING_FLOAT", sample_rate_hertz=16000)
    for samples in ([value] * 8000, [0.1] * 4000 + [value] + [0.1] * 4000):
        check(
            send,
            pb.TranscribeRequest(config=config, audio=struct.pack(f"<{len(samples)}f", *samples)),
        )


@pytest.mark.parametrize("place", [4, 16, 40])
@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_wrong_lengths_in_a_wav_header(send, originals, place, value):
    check(send, pb.TranscribeRequest(audio=apply(originals[0], [("length", place, value)])))
