"""The methods of the service over a socket, with a stand-in for the recogniser."""

from __future__ import annotations

import logging
import threading

import grpc
import numpy as np
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from asr.types import AudioError
from server.limits import MESSAGE_LIMIT
from server.pb.v1 import speech_pb2 as pb

RAW = pb.RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16000)
SECOND = bytes(2 * 16000)


@pytest.fixture(scope="module")
def running(serving, stand_in):
    with serving(stand_in(max_bytes=3 * MESSAGE_LIMIT)) as running:
        yield running


def chunks(*pieces: bytes, config: pb.RecognitionConfig = RAW):
    yield pb.TranscribeChunksRequest(config=config)
    for piece in pieces:
        yield pb.TranscribeChunksRequest(audio_content=piece)


def seconds(response: pb.TranscribeResponse | pb.TranscribeChunksResponse) -> float:
    return response.results[0].result_end_time.ToTimedelta().total_seconds()


def refusal(call, *arguments) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=30)
    return caught.value


def test_one_message_and_pieces_cut_anywhere_are_the_same(running):
    whole = running.stub.Transcribe(pb.TranscribeRequest(config=RAW, audio=SECOND))
    pieces = running.stub.TranscribeChunks(chunks(SECOND[:1], SECOND[1:9999], b"", SECOND[9999:]))
    assert list(whole.results) == list(pieces.results)
    assert seconds(whole) == 1.0


def test_options_arrive(running):
    config = pb.RecognitionConfig()
    config.CopyFrom(RAW)
    config.decoder, config.beam_width, config.max_alternatives = "beam", 9, 3
    config.enable_word_time_offsets = True
    whole = running.stub.Transcribe(pb.TranscribeRequest(config=config, audio=SECOND))
    pieces = running.stub.TranscribeChunks(chunks(SECOND, config=config))
    for response in (whole, pieces):
        alternative = response.results[0].alternatives[0]
        assert alternative.transcript == "beam 9 3"
        assert [word.word for word in alternative.words] == ["one", "two"]


def test_the_message_limit_is_exact_to_one_byte(running):
    request = pb.TranscribeRequest(config=RAW)
    request.audio = bytes(MESSAGE_LIMIT - request.ByteSize() - 5)  # a tag and four bytes of length
    assert request.ByteSize() == MESSAGE_LIMIT
    assert seconds(running.stub.Transcribe(request)) == len(request.audio) / 32000
    request.audio += b"\0"
    error = refusal(running.stub.Transcribe, request)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_limit_of_a_stream_is_exact_to_one_byte(running):
    piece = bytes(MESSAGE_LIMIT // 2)
    assert seconds(running.stub.TranscribeChunks(chunks(*[piece] * 6))) == 3 * MESSAGE_LIMIT / 32000
    error = refusal(running.stub.TranscribeChunks, chunks(*[piece] * 6, b"\0"))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert f"more than {3 * MESSAGE_LIMIT} bytes" in error.details()


def test_a_stream_too_long_is_refused_before_it_ends(running):
    refused = threading.Event()

    def endless():
        yield pb.TranscribeChunksRequest(config=RAW)
        while not refused.is_set():
            yield pb.TranscribeChunksRequest(audio_content=bytes(MESSAGE_LIMIT // 2))

    error = refusal(running.stub.TranscribeChunks, endless())
    refused.set()
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "requests",
    [
        [],
        [pb.TranscribeChunksRequest()],
        [pb.TranscribeChunksRequest(audio_content=SECOND)],
        [*chunks(SECOND), *chunks(SECOND)],
        [*chunks(SECOND), pb.TranscribeChunksRequest()],
        [*chunks()],
        [*chunks(b"", b"")],
        [*chunks(b"\0")],
    ],
    ids=[
        "nothing",
        "neither",
        "audio first",
        "configured twice",
        "neither at the end",
        "no audio",
        "empty audio",
        "half a sample",
    ],
)
def test_a_stream_out_of_order_is_refused(running, requests):
    error = refusal(running.stub.TranscribeChunks, iter(requests))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "(" in error.details(), "a remedy"


def test_wrong_options_of_a_stream_are_refused_before_its_audio(running):
    refused = threading.Event()

    def waiting():
        yield pb.TranscribeChunksRequest(config=pb.RecognitionConfig(decoder="viterbi"))
        refused.wait(30)

    error = refusal(running.stub.TranscribeChunks, waiting())
    refused.set()
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "'viterbi'" in error.details()


def test_a_refusal_quotes_no_more_than_a_line(running):
    config = pb.RecognitionConfig(decoder="ż\n" * 500_000)
    error = refusal(running.stub.Transcribe, pb.TranscribeRequest(config=config, audio=SECOND))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "\n" not in error.details()
    assert len(error.details()) <= 500


def test_a_nan_is_named_by_its_place(running):
    samples = np.zeros(16000, "<f4")
    samples[1234] = np.nan
    config = pb.RecognitionConfig(encoding="AUDIO_ENCODING_FLOAT", sample_rate_hertz=16000)
    request = pb.TranscribeRequest(config=config, audio=samples.tobytes())
    error = refusal(running.stub.Transcribe, request)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "1234" in error.details()


def test_what_a_user_can_mend_is_told_without_the_place(serving, stand_in, monkeypatch):
    def refuse(waveforms, decoder=None):
        raise AudioError("too quiet", where="/srv/secret/model", remedy="speak up")

    recognizer = stand_in()
    with serving(recognizer) as running:
        monkeypatch.setattr(recognizer, "recognize", refuse)
        error = refusal(running.stub.Transcribe, pb.TranscribeRequest(config=RAW, audio=SECOND))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "too quiet (speak up)"


def test_a_defect_tells_its_number_and_the_log_tells_the_rest(
    serving, stand_in, monkeypatch, caplog
):
    def fail(waveforms, decoder=None):
        raise KeyError("/srv/secret/model")

    recognizer = stand_in()
    with serving(recognizer) as running, caplog.at_level(logging.ERROR):
        with monkeypatch.context() as patch:
            patch.setattr(recognizer, "recognize", fail)
            error = refusal(running.stub.Transcribe, pb.TranscribeRequest(config=RAW, audio=SECOND))
        assert error.code() == grpc.StatusCode.INTERNAL
        for secret in ("secret", "KeyError", "Traceback", ".py"):
            assert secret not in error.details()
        (record,) = caplog.records
        request_id = error.details().split()[-1]
        assert len(request_id) == 32
        assert request_id in record.getMessage()
        assert record.exc_info is not None
        response = running.stub.Transcribe(pb.TranscribeRequest(config=RAW, audio=SECOND))
        assert seconds(response) == 1.0, "the server is alive"


def test_one_request_at_a_time_while_the_server_stays_responsive(serving, stand_in):
    class Counting(stand_in):
        def __init__(self):
            super().__init__()
            self.gate, self.entered = threading.Event(), threading.Event()
            self.lock, self.now, self.most = threading.Lock(), 0, 0

        def recognize(self, waveforms, decoder=None):
            if decoder is None:  # the warm-up
                return super().recognize(waveforms)
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            self.entered.set()
            assert self.gate.wait(30)
            with self.lock:
                self.now -= 1
            return super().recognize(waveforms, decoder)

    recognizer = Counting()
    with serving(recognizer) as running:
        request = pb.TranscribeRequest(config=RAW, audio=SECOND)
        calls = [running.stub.Transcribe.future(request, timeout=30) for _ in range(6)]
        assert recognizer.entered.wait(30)
        HealthStub(running.channel).Check(HealthCheckRequest(), timeout=10)
        recognizer.gate.set()
        assert [seconds(call.result()) for call in calls] == [1.0] * 6
    assert recognizer.most == 1
