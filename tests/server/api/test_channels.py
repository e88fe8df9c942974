"""Each channel by itself: what is said of it is what is said of it alone."""

from __future__ import annotations

from dataclasses import replace

import grpc
import numpy as np
import pytest

from asr.types import Hypothesis, Transcript, Word
from server import application
from server.api import messages
from server.api.messages import write_result
from server.limits import MESSAGE_LIMIT
from server.pb.v1 import speech_pb2 as pb

RATE = 16_000
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def running(serving, recognizer):
    with serving(recognizer, streams=3) as running:
        yield running


@pytest.fixture(scope="module")
def conversation(samples_of) -> np.ndarray:
    """Two that speak in turns ``(N, 2)``."""
    quiet = np.zeros(RATE, np.float32)
    first = np.concatenate([samples_of(1, 1.5), quiet, samples_of(2, 1.0)])
    second = np.concatenate([quiet, quiet, samples_of(3, 1.5)])
    return np.stack([first, second], axis=1)


def raw(samples: np.ndarray) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def config_of(audio: str, **options) -> pb.RecognitionConfig:
    options = {"enable_word_time_offsets": True, **options}
    if audio == "raw":
        options |= {"encoding": "AUDIO_ENCODING_LINEAR16", "sample_rate_hertz": RATE}
    return pb.RecognitionConfig(**options)


def ask(running, method, config, audio) -> list[pb.SpeechRecognitionResult]:
    if method == "Transcribe":
        request = pb.TranscribeRequest(config=config, audio=audio)
        return [*running.stub.Transcribe(request, timeout=60).results]
    message = getattr(pb, f"{method}Request")
    answer = getattr(running.stub, method)(
        iter([message(config=config), message(audio_content=audio)]), timeout=60
    )
    if method == "TranscribeChunks":
        return [*answer.results]
    return [part.result for part in answer if part.HasField("result")]


@pytest.mark.parametrize("kind", ["raw", "WAV", "FLAC", "OGG"])
@pytest.mark.parametrize("method", ["Transcribe", "TranscribeChunks", "TranscribeStream"])
def test_each_channel_has_the_result_that_it_has_alone(
    running, conversation, file_of, method, kind
):
    subtype = "VORBIS" if kind == "OGG" else "PCM_16"
    audio = raw(conversation) if kind == "raw" else file_of(conversation, RATE, kind, subtype)
    count = {"audio_channel_count": 2} if kind == "raw" else {}
    apart = config_of(kind, enable_separate_recognition_per_channel=True, **count)
    results = ask(running, method, apart, audio)
    assert [result.channel_tag for result in results] == [1, 2]
    for result in results:
        [alone] = ask(
            running, method, config_of(kind, audio_channel=result.channel_tag, **count), audio
        )
        assert alone.channel_tag == 0
        alone.channel_tag = result.channel_tag
        assert result == alone
    assert results[0].alternatives[0].transcript != results[1].alternatives[0].transcript


def test_one_channel_is_one_result(running, conversation):
    config = config_of("raw", enable_separate_recognition_per_channel=True)
    [result] = ask(running, "Transcribe", config, raw(conversation[:, 0]))
    assert result.channel_tag == 1


def test_one_channel_and_each_cannot_both_be_asked_for(running, conversation):
    config = config_of(
        "raw", enable_separate_recognition_per_channel=True, audio_channel=1, audio_channel_count=2
    )
    with pytest.raises(grpc.RpcError) as caught:
        ask(running, "Transcribe", config, raw(conversation))
    assert caught.value.code() == INVALID
    assert "leave one of the two out" in caught.value.details()


def test_prefix_search_counts_the_seconds_of_all_channels(serving, stand_in):
    """It is for 30 s of one channel, and for 15 s of two."""
    options = {"decoder": "prefix", "audio_channel_count": 2}
    with serving(stand_in()) as running:
        config = config_of("raw", enable_separate_recognition_per_channel=True, **options)
        assert len(ask(running, "Transcribe", config, bytes(15 * RATE * 4))) == 2
        with pytest.raises(grpc.RpcError) as caught:
            ask(running, "Transcribe", config, bytes(16 * RATE * 4))
        assert "prefix search is for up to 30 s" in caught.value.details()


@pytest.mark.parametrize("kind", ["raw", "FLAC"])
def test_each_channel_of_a_long_recording_has_the_result_that_it_has_alone(
    serving, recognizer, conversation, file_of, kind, monkeypatch
):
    """It is decoded block by block, once for each channel; here what is longer than a second is."""
    monkeypatch.setattr(application, "LIMITS", replace(application.LIMITS, max_seconds=1.0))
    audio = raw(conversation) if kind == "raw" else file_of(conversation, RATE, kind, "PCM_16")
    count = {"audio_channel_count": 2} if kind == "raw" else {}
    with serving(recognizer) as running:
        apart = config_of(kind, enable_separate_recognition_per_channel=True, **count)
        results = ask(running, "TranscribeChunks", apart, audio)
        assert [result.channel_tag for result in results] == [1, 2]
        for result in results:
            alone = config_of(kind, audio_channel=result.channel_tag, **count)
            [one] = ask(running, "TranscribeChunks", alone, audio)
            one.channel_tag = result.channel_tag
            assert result == one
            assert one.alternatives[0].transcript


def test_the_text_of_all_channels_of_a_long_recording_has_room_together(
    serving, recognizer, conversation, monkeypatch
):
    monkeypatch.setattr(application, "LIMITS", replace(application.LIMITS, max_seconds=1.0))
    config = config_of("raw", enable_separate_recognition_per_channel=True, audio_channel_count=2)
    both = np.concatenate([conversation, conversation])
    with serving(recognizer) as running:
        results = ask(running, "TranscribeChunks", config, raw(both))
        largest = max(result.ByteSize() for result in results)
        monkeypatch.setattr(messages, "MESSAGE_LIMIT", largest + 3 * messages.FRAME_BYTES)
        with pytest.raises(grpc.RpcError) as caught:
            ask(running, "TranscribeChunks", config, raw(both))
        assert "the answer has more than" in caught.value.details()


def test_results_of_all_channels_fit_into_a_message():
    words = tuple(Word("a" * 50, i, i + 1.0, 0.5) for i in range(10_000))
    hypotheses = (Hypothesis("a" * 100_000, -1.0, 0.5, words=words),) * 30
    transcript = Transcript(hypotheses, 600.0)
    results = [write_result(transcript, words=True, parts=4) for _ in range(4)]
    assert pb.TranscribeResponse(results=results).ByteSize() <= MESSAGE_LIMIT


# Live


def live(running, config, audio, **options):
    streaming = pb.StreamingRecognitionConfig(config=config, **options)
    requests = [
        pb.TranscribeStreamRequest(streaming_config=streaming),
        *(
            pb.TranscribeStreamRequest(audio_content=audio[start : start + 6_402])
            for start in range(0, len(audio), 6_402)
        ),
    ]
    answers = running.stub.TranscribeStream(iter(requests), timeout=60)
    return [part for answer in answers for part in answer.results.results]


def test_each_channel_of_a_live_stream_has_the_results_that_it_has_alone(running, conversation):
    options = {
        "interim_results": True,
        "endpointing_config": {"rule2_min_trailing_silence": {"nanos": 400_000_000}},
    }
    both = config_of("raw", audio_channel_count=2, enable_separate_recognition_per_channel=True)
    parts = live(running, both, raw(conversation), **options)
    assert {part.channel_tag for part in parts} == {1, 2}
    for tag in (1, 2):
        heard = [part for part in parts if part.is_final and part.channel_tag == tag]
        config = config_of("raw", audio_channel_count=2, audio_channel=tag)
        alone = [
            part for part in live(running, config, raw(conversation), **options) if part.is_final
        ]
        for part in alone:
            part.channel_tag = tag
        assert heard == alone != []
    assert len([p for p in parts if p.is_final and p.channel_tag == 1]) == 2, "by its own pauses"


def test_each_channel_takes_the_place_of_a_stream(running, conversation):
    config = config_of("raw", audio_channel_count=4, enable_separate_recognition_per_channel=True)
    with pytest.raises(grpc.RpcError) as caught:
        live(running, config, bytes(8_000))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    config.audio_channel_count = 3
    assert live(running, config, bytes(6_000)) == []
    running.settle(0)


def test_each_channel_of_a_file_is_refused_before_it_is_sent(running):
    config = config_of("file", enable_separate_recognition_per_channel=True)
    for encoding in ("AUDIO_ENCODING_WAV", "AUDIO_ENCODING_UNSPECIFIED"):
        config.encoding = pb.AudioEncoding.Value(encoding)
        with pytest.raises(grpc.RpcError) as caught:
            live(running, config, b"")
        assert caught.value.code() == INVALID
        assert "send samples without one" in caught.value.details()


def test_a_channel_that_cannot_be_heard_ends_the_whole_stream(running, conversation):
    samples = conversation.astype("<f4")
    samples[20_000, 1] = np.nan
    config = config_of("float", audio_channel_count=2, enable_separate_recognition_per_channel=True)
    config.encoding, config.sample_rate_hertz = pb.AUDIO_ENCODING_FLOAT, RATE
    with pytest.raises(grpc.RpcError) as caught:
        live(running, config, samples.tobytes())
    assert caught.value.code() == INVALID
    assert "sample 20000" in caught.value.details()
    running.settle(0)
