"""Riva's client streams: what it is told is what ``asr.v1`` tells of the same stream."""

from __future__ import annotations

import queue
import threading
import time

import grpc
import numpy as np
import pytest

riva = pytest.importorskip("riva.client", reason="the extra riva is not installed")
rasr = pytest.importorskip("riva.client.proto.riva_asr_pb2")

from server.pb.v1 import speech_pb2 as pb  # noqa: E402

INVALID = grpc.StatusCode.INVALID_ARGUMENT
RATE = 16_000
PAUSES = {"rule2_min_trailing_silence": {"nanos": 400_000_000}}


@pytest.fixture(scope="module")
def two(samples_of, file_of, tmp_path_factory):
    """A WAV file of two utterances with a second of silence behind each."""
    quiet = np.zeros(RATE, np.float32)
    whole = np.concatenate([samples_of(1, 1.5), quiet, samples_of(2, 1.2), quiet])
    path = tmp_path_factory.mktemp("two") / "two.wav"
    path.write_bytes(file_of(whole, RATE, "WAV", "PCM_16"))
    return path


def config_of(interim: bool = True, custom: str = "", **options):
    config = riva.StreamingRecognitionConfig(
        config=riva.RecognitionConfig(**options), interim_results=interim
    )
    riva.add_custom_configuration_to_config(config, custom)
    return config


def ask(asr, pieces, config) -> list:
    return list(asr.streaming_response_generator(pieces, config))


def finals(responses) -> list:
    return [result for response in responses for result in response.results if result.is_final]


def ours(running, audio: bytes, config: pb.RecognitionConfig, **options) -> list:
    """The final results of ``asr.v1``."""
    streaming = pb.StreamingRecognitionConfig(config=config, **options)
    requests = iter(
        [
            pb.TranscribeStreamRequest(streaming_config=streaming),
            pb.TranscribeStreamRequest(audio_content=audio),
        ]
    )
    answers = running.stub.TranscribeStream(requests, timeout=60)
    return [part for answer in answers for part in answer.results.results if part.is_final]


def refused(asr, pieces, config) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        ask(asr, pieces, config)
    return caught.value.code(), caught.value.details()


WAV = pb.RecognitionConfig(encoding="AUDIO_ENCODING_WAV", enable_word_time_offsets=True)


def test_a_file_is_heard_while_it_is_sent_and_each_segment_has_a_final_result(asr, running, two):
    """As its scripts send it: with the header, without an encoding, with settings of endpoints."""
    config = config_of(enable_word_time_offsets=True, language_code="en-US")
    riva.add_audio_file_specs_to_config(config, two)
    riva.add_endpoint_parameters_to_config(config, 240, 0.5, 400, 200, 0.98, 0.98)
    with riva.AudioChunkFileIterator(two, 1600) as chunks:
        responses = ask(asr, chunks, config)
    expected = ours(running, two.read_bytes(), WAV, endpointing_config=PAUSES)
    heard = finals(responses)
    assert len(heard) == len(expected) == 2
    for result, other in zip(heard, expected, strict=True):
        best, right = result.alternatives[0], other.alternatives[0]
        assert best.transcript == f"{right.transcript} "
        times = [(word.word, word.start_time, word.end_time) for word in best.words]
        assert times == [
            (w.word, w.start_time.ToMilliseconds(), w.end_time.ToMilliseconds())
            for w in right.words
        ]
        assert times
        assert result.audio_processed == pytest.approx(other.result_end_time.ToNanoseconds() / 1e9)
    interim = [r for response in responses for r in response.results if not r.is_final]
    assert interim
    assert all(len(response.results) == 1 for response in responses)
    assert all(0.0 <= result.stability <= 1.0 for result in interim)
    assert all(not result.alternatives[0].words for result in interim)


def test_without_settings_the_pause_is_too_short_to_end_a_segment(asr, two):
    with riva.AudioChunkFileIterator(two, 4000) as chunks:
        responses = ask(asr, chunks, config_of(interim=False))
    assert len(responses) == len(finals(responses)) == 1


def test_what_the_client_prints_is_the_text(asr, two, capsys):
    with riva.AudioChunkFileIterator(two, 4000) as chunks:
        responses = ask(asr, chunks, config_of())
    riva.print_streaming(iter(responses), show_intermediate=True)
    printed = capsys.readouterr().out
    assert f"## {finals(responses)[0].alternatives[0].transcript}" in printed
    assert ">> " in printed


def test_results_come_at_the_pace_of_the_speech(asr, two):
    """Half of the file is held back until there is a result of the other half."""
    heard = threading.Event()
    pauses = []

    def pace(chunk: bytes, seconds: float) -> None:
        pauses.append(seconds)
        if sum(pauses) > 2.0:
            assert heard.wait(30)

    with riva.AudioChunkFileIterator(two, 1600, delay_callback=pace) as chunks:
        for _ in asr.streaming_response_generator(chunks, config_of(custom="latency:low")):
            heard.set()
    assert sum(pauses) == pytest.approx(4.7, abs=0.01)


def test_the_best_hypotheses_of_a_segment_are_given(asr, running, two):
    audio = two.read_bytes()
    config = config_of(max_alternatives=3, custom="decoder:beam,beam_width:8")
    result = finals(ask(asr, [audio], config))[0]
    options = pb.RecognitionConfig(
        encoding="AUDIO_ENCODING_WAV", decoder="beam", beam_width=8, max_alternatives=3
    )
    expected = ours(running, audio, options)[0]
    texts = [alternative.transcript for alternative in result.alternatives]
    assert texts == [f"{alternative.transcript} " for alternative in expected.alternatives]
    assert len(texts) == 3


@pytest.mark.parametrize(
    ("encoding", "container", "subtype", "native"),
    [
        ("LINEAR_PCM", "RAW", "PCM_16", "LINEAR16"),
        ("LINEAR_PCM", "WAV", "PCM_16", "WAV"),
        ("MULAW", "RAW", "ULAW", "MULAW"),
        ("ALAW", "RAW", "ALAW", "ALAW"),
        ("FLAC", "FLAC", "PCM_16", "FLAC"),
        ("OGGOPUS", "OGG", "OPUS", "OGG"),
        ("ENCODING_UNSPECIFIED", "FLAC", "PCM_16", "UNSPECIFIED"),
    ],
)
def test_every_encoding_is_heard_in_any_pieces(
    asr, running, samples_of, file_of, encoding, container, subtype, native
):
    """Also where the header comes byte by byte."""
    audio = file_of(samples_of(4, 1.5), RATE, container, subtype)
    config = config_of(encoding=riva.AudioEncoding.Value(encoding), sample_rate_hertz=RATE)
    pieces = [audio[i : i + 1] for i in range(50)] + [b"", audio[50:]]
    result = finals(ask(asr, pieces, config))[0]
    rate = RATE if container == "RAW" else 0
    native_config = pb.RecognitionConfig(
        encoding=f"AUDIO_ENCODING_{native}", sample_rate_hertz=rate
    )
    expected = ours(running, audio, native_config)[0].alternatives[0]
    assert result.alternatives[0].transcript.strip() == expected.transcript != ""


def test_the_clients_name_for_its_request_comes_back_with_each_answer(asr, two):
    first = rasr.StreamingRecognizeRequest(streaming_config=config_of())
    first.id.value = "a name"
    second = rasr.StreamingRecognizeRequest(audio_content=two.read_bytes())
    answers = list(asr.stub.StreamingRecognize(iter([first, second])))
    assert {answer.id.value for answer in answers} == {"a name"}


def test_no_audio_is_no_result(asr):
    assert ask(asr, [], config_of(encoding=1, sample_rate_hertz=RATE)) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoding": 9}, "encoding 9 is unknown"),
        ({"custom_configuration": {"latency": "none"}}, "latency is 'none' (give low, medium"),
        ({"custom_configuration": {"look_ahead": "soon"}}, "look_ahead is 'soon' (give a number)"),
        ({"custom_configuration": {"look_ahead": "3"}}, "look_ahead is 3 s (give 0.1 to 2 s)"),
        ({"custom_configuration": {"decoder": "prefix"}}, "choose one of greedy, beam"),
        ({"endpointing_config": {"stop_history": 50}}, "stop_history is 50 ms (give 100 to"),
        ({"endpointing_config": {"stop_threshold": 1.5}}, "stop_threshold is 1.5 (give 0 to 1)"),
        ({"endpointing_config": {"start_history": -1}}, "start_history is -1"),
        ({"diarization_config": {"enable_speaker_diarization": True}}, "speaker diarization"),
    ],
)
def test_what_cannot_be_is_refused(asr, two, options, words):
    options = {"encoding": 1, "sample_rate_hertz": RATE, **options}
    code, details = refused(asr, [two.read_bytes()], config_of(**options))
    assert code == INVALID
    assert words in details


def test_a_model_that_there_is_not_is_told_before_there_is_audio(asr):
    """The client speaks later, and is told at once."""
    done = threading.Event()

    def silent():
        done.wait(30)
        yield from ()

    code, _ = refused(asr, silent(), config_of(model="parakeet"))
    done.set()
    assert code == grpc.StatusCode.NOT_FOUND


AUDIO = rasr.StreamingRecognizeRequest(audio_content=bytes(3200))
CONFIG = rasr.StreamingRecognizeRequest(
    streaming_config=config_of(encoding=1, sample_rate_hertz=RATE)
)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "does not begin with its configuration"),
        ([AUDIO, CONFIG], "does not begin with its configuration"),
        ([rasr.StreamingRecognizeRequest(), AUDIO], "does not begin with its configuration"),
        ([CONFIG, CONFIG, AUDIO], "a message of the stream holds no audio"),
        ([CONFIG, AUDIO, CONFIG], "a message of the stream holds no audio"),
        ([CONFIG, AUDIO, rasr.StreamingRecognizeRequest()], "holds no audio"),
    ],
)
def test_a_stream_out_of_order_is_refused(asr, messages, words):
    with pytest.raises(grpc.RpcError) as caught:
        list(asr.stub.StreamingRecognize(iter(messages)))
    assert caught.value.code() == INVALID
    assert words in caught.value.details()


def test_bytes_that_are_no_message_are_the_clients_mistake(running):
    service = "/nvidia.riva.asr.RivaSpeechRecognition"
    single = running.channel.unary_unary(f"{service}/Recognize")
    several = running.channel.stream_stream(f"{service}/StreamingRecognize")
    for call in (lambda: single(b"\xff"), lambda: list(several(iter([b"\xff"])))):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == INVALID


def test_streams_have_the_places_of_all_live_streams(serving, recognizer):
    """They take them, give them back when the client goes, and are counted in the metrics."""
    with serving(recognizer, streams=1) as running:
        auth = riva.Auth(uri=running.address)
        asr = riva.ASRService(auth)
        sent: queue.Queue[bytes | None] = queue.Queue()
        config = config_of(encoding=1, sample_rate_hertz=RATE)
        requests = (
            rasr.StreamingRecognizeRequest(audio_content=piece) for piece in iter(sent.get, None)
        )
        held = asr.stub.StreamingRecognize(
            message for part in ([CONFIG], requests) for message in part
        )
        sent.put(bytes(3200))
        deadline = time.monotonic() + 30
        while running.application.admission.streams != 1:
            assert time.monotonic() < deadline
        with pytest.raises(grpc.RpcError) as caught:
            ask(asr, [bytes(3200)], config)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "grpc-retry-pushback-ms" in dict(caught.value.trailing_metadata())
        held.cancel()
        sent.put(None)
        running.settle(0)
        assert ask(asr, [bytes(3200)], config) == []
        counted = running.application.metrics.registry.get_sample_value
        labels = {"method": "StreamingRecognize", "code": "OK"}
        assert counted("asr_calls_total", labels) == 1
        auth.channel.close()
