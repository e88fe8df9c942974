"""The methods of the service over a socket, with a stand-in for the recogniser."""

from __future__ import annotations

import logging
import threading

import grpc
import numpy as np
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from asr.recognizer import PreparedWaveform, Recognizer
from asr.types import DeviceMemoryError, Hypothesis, ModelError, Waveform, Word
from server.limits import PREFIX_SECONDS, SPOKEN_SECONDS
from server.pb.v1 import speech_pb2 as pb

RAW = pb.RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16000)
SECOND = b"\0\0\1\0" * 8_000  # not quite silence, which is not computed
REQUEST = pb.TranscribeRequest(config=RAW, audio=SECOND)


@pytest.fixture(scope="module")
def running(serving, stand_in, stand_in_source):
    other = stand_in()
    other.sample_rate = 8000
    with serving(source=stand_in_source({"main": stand_in(), "other": other})) as running:
        yield running


def chunks(*pieces: bytes, config: pb.RecognitionConfig = RAW):
    yield pb.TranscribeChunksRequest(config=config)
    for piece in pieces:
        yield pb.TranscribeChunksRequest(audio_content=piece)


def stream(*pieces: bytes, config: pb.RecognitionConfig = RAW):
    yield pb.TranscribeStreamRequest(config=config)
    for piece in pieces:
        yield pb.TranscribeStreamRequest(audio_content=piece)


def seconds(result: pb.SpeechRecognitionResult) -> float:
    return result.result_end_time.ToTimedelta().total_seconds()


def refusal(call, *arguments) -> grpc.RpcError:
    def ask() -> None:
        answer = call(*arguments, timeout=30)
        if hasattr(answer, "__iter__"):
            list(answer)

    with pytest.raises(grpc.RpcError) as caught:
        ask()
    return caught.value


def with_options(**options) -> pb.RecognitionConfig:
    config = pb.RecognitionConfig()
    config.CopyFrom(RAW)
    config.MergeFrom(pb.RecognitionConfig(**options))
    return config


def answers(running, config: pb.RecognitionConfig) -> list[pb.SpeechRecognitionResult]:
    """What each method says of a second."""
    stub = running.stub
    started, last = stub.TranscribeStream(stream(SECOND, config=config))
    assert started.HasField("started")
    return [
        stub.Transcribe(pb.TranscribeRequest(config=config, audio=SECOND)).results[0],
        stub.TranscribeChunks(chunks(SECOND, config=config)).results[0],
        last.result,
    ]


def test_one_message_and_pieces_cut_anywhere_are_the_same(running):
    whole = running.stub.Transcribe(REQUEST).results
    cut = (SECOND[:1], SECOND[1:9999], b"", SECOND[9999:])
    assert list(running.stub.TranscribeChunks(chunks(*cut)).results) == list(whole)
    _, last = running.stub.TranscribeStream(stream(*cut))
    assert [last.result] == list(whole)
    assert seconds(whole[0]) == 1.0


def test_a_stream_is_told_at_once_what_becomes_of_it(running):
    """The audio is sent only after the answer to the configuration."""
    told = threading.Event()

    def requests():
        yield pb.TranscribeStreamRequest(config=RAW)
        assert told.wait(30)
        yield pb.TranscribeStreamRequest(audio_content=SECOND)

    call = running.stub.TranscribeStream(requests(), timeout=60)
    started = next(call).started
    assert (started.model, started.answers_at_end) == ("main", True)
    assert started.max_audio.ToSeconds() == SPOKEN_SECONDS
    told.set()
    assert seconds(next(call).result) == 1.0
    assert list(call) == []


def test_options_arrive_by_every_way(running):
    config = with_options(
        decoder="beam",
        beam_width=9,
        max_alternatives=3,
        enable_word_time_offsets=True,
        speech_contexts=[pb.SpeechContext(phrases=["ab"], boost=2)],
    )
    for result in answers(running, config):
        alternative = result.alternatives[0]
        assert alternative.transcript == "beam 9 3 50 ab:2"
        assert [word.word for word in alternative.words] == ["one", "two"]
    for result in answers(running, RAW):
        assert not result.alternatives[0].words


def test_the_model_is_the_one_named(running):
    for result in answers(running, with_options(model="other")):
        assert result.alternatives[0].transcript == "greedy - 1 25", "resampled to 8 kHz"
    for config in (RAW, with_options(model="main")):
        for result in answers(running, config):
            assert result.alternatives[0].transcript == "greedy - 1 50"


def test_models_are_listed_and_described(running):
    models = list(running.stub.ListModels(pb.ListModelsRequest()).models)
    assert [model.name for model in models] == ["main", "other"]
    assert [model.is_default for model in models] == [True, False]
    first = models[0]
    assert (first.sample_rate_hertz, first.vocabulary_size) == (16000, 6)
    assert first.frame_step.ToMilliseconds() == 20
    assert (first.default_decoder, first.answers_at_end) == ("greedy", True)
    assert {"greedy", "beam", "prefix"} <= set(first.decoders)
    for name, model in (("", first), ("main", first), ("other", models[1])):
        assert running.stub.GetModel(pb.GetModelRequest(name=name)).model == model


def test_a_model_that_is_not_there_is_said_in_every_method(running):
    config = with_options(model="third\n")
    calls = [
        (running.stub.Transcribe, pb.TranscribeRequest(config=config, audio=SECOND)),
        (running.stub.TranscribeChunks, chunks(SECOND, config=config)),
        (running.stub.TranscribeStream, stream(SECOND, config=config)),
        (running.stub.GetModel, pb.GetModelRequest(name="third")),
    ]
    for call, request in calls:
        error = refusal(call, request)
        assert error.code() == grpc.StatusCode.NOT_FOUND
        assert "choose one of main, other" in error.details()


@pytest.mark.parametrize("streaming", ["TranscribeChunks", "TranscribeStream"])
@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [{}],
        [{"audio_content": SECOND}],
        [{"config": RAW}, {"audio_content": SECOND}, {"config": RAW}],
        [{"config": RAW}, {"audio_content": SECOND}, {}],
        [{"config": RAW}],
        [{"config": RAW}, {"audio_content": b""}],
        [{"config": RAW}, {"audio_content": b"\0"}],
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
def test_a_stream_out_of_order_is_refused(running, streaming, pieces):
    message = {
        "TranscribeChunks": pb.TranscribeChunksRequest,
        "TranscribeStream": pb.TranscribeStreamRequest,
    }[streaming]
    error = refusal(getattr(running.stub, streaming), (message(**piece) for piece in pieces))
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


def test_what_a_user_can_mend_is_told_without_the_place(serving, stand_in):
    def refuse(stage, given):
        raise ModelError("too quiet", where="/srv/secret/model", remedy="speak up")

    with serving(stand_in(before=refuse)) as running:
        error = refusal(running.stub.Transcribe, REQUEST)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "too quiet (speak up)"


def test_a_defect_tells_its_number_and_the_log_tells_the_rest(serving, stand_in, caplog):
    failing = True

    def fail(stage, given):
        if failing and stage == "decode":
            raise KeyError("/srv/secret/model")

    with serving(stand_in(before=fail)) as running, caplog.at_level(logging.ERROR):
        error = refusal(running.stub.Transcribe, REQUEST)
        assert error.code() == grpc.StatusCode.INTERNAL
        for secret in ("secret", "KeyError", "Traceback", ".py"):
            assert secret not in error.details()
        (record,) = caplog.records
        request_id = dict(error.trailing_metadata())["x-request-id"]
        assert error.details().split()[-1] == request_id
        assert request_id in record.getMessage()
        assert record.exc_info is not None
        failing = False
        assert seconds(running.stub.Transcribe(REQUEST).results[0]) == 1.0, "the server is alive"


def test_a_device_without_memory_is_not_the_clients_fault(serving, stand_in):
    def fail(stage, given):
        raise DeviceMemoryError("the batch does not fit", remedy="choose cpu")

    with serving(stand_in(before=fail)) as running:
        error = refusal(running.stub.Transcribe, REQUEST)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "cpu" not in error.details()


def test_prefix_search_is_for_short_audio(running):
    config = with_options(decoder="prefix")
    assert all(answers(running, config))
    long = pb.TranscribeRequest(config=config, audio=bytes(int(PREFIX_SECONDS + 1) * 32000))
    error = refusal(running.stub.Transcribe, long)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert f"up to {PREFIX_SECONDS:g} s" in error.details()


def test_every_answer_has_the_id_that_the_client_gave(running):
    metadata = (("x-request-id", "mine-1"),)
    _, call = running.stub.Transcribe.with_call(REQUEST, metadata=metadata)
    assert ("x-request-id", "mine-1") in call.trailing_metadata()
    with pytest.raises(grpc.RpcError) as caught:
        running.stub.Transcribe(pb.TranscribeRequest(), metadata=metadata)
    assert ("x-request-id", "mine-1") in caught.value.trailing_metadata()


def test_the_server_stays_responsive_while_the_model_works(serving, stand_in):
    gate, entered = threading.Event(), threading.Event()

    def block(stage, given):
        entered.set()
        assert gate.wait(30)

    with serving(stand_in(before=block)) as running:
        calls = [running.stub.Transcribe.future(REQUEST, timeout=30) for _ in range(6)]
        assert entered.wait(30)
        HealthStub(running.channel).Check(HealthCheckRequest(), timeout=10)
        gate.set()
        assert [seconds(call.result().results[0]) for call in calls] == [1.0] * 6


def test_long_answers_are_written_beside_the_event_loop(serving, stand_in):
    threads = []

    class Watched(tuple):
        def __iter__(self):
            threads.append(threading.current_thread().name)
            return super().__iter__()

    class Talkative(stand_in):
        def decode(self, *arguments, **options):
            words = Watched((Word("one", 0.0, 1.0, 0.5),))
            return [[Hypothesis("one", -1.0, 0.5, words=words)]]

    config = with_options(enable_word_time_offsets=True)
    with serving(Talkative()) as running:
        request = pb.TranscribeRequest(config=config, audio=SECOND)
        answer = running.stub.Transcribe(request, timeout=30)
    assert [word.word for word in answer.results[0].alternatives[0].words] == ["one"]
    assert threads
    assert all(name.startswith("search") for name in threads)


class Counting(Recognizer):
    """A recogniser that notes what its audio goes through."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        self.done: list[str] = []

    def prepare(self, waveform: Waveform) -> PreparedWaveform:
        self.done.append("prepared")
        return super().prepare(waveform)

    def log_probs(self, waveforms):
        self.done.append("computed")
        return super().log_probs(waveforms)


@pytest.fixture(scope="module")
def counting(serving, bundle_path):
    """A server of a true model, and what its audio goes through after the warm-up."""
    recognizer = Counting.load(bundle_path)
    with serving(recognizer) as running:
        recognizer.done.clear()
        yield running, recognizer.done


def test_audio_is_prepared_once(counting):
    running, done = counting
    done.clear()
    answers(running, RAW)
    assert done == ["prepared", "computed"] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speech_contexts": [pb.SpeechContext(phrases=["100 %"])]}, "phrase '100 %' has unknown"),
        (
            {"decoder": "greedy", "speech_contexts": [pb.SpeechContext(phrases=["ab"])]},
            "greedy decoding takes no speech_contexts",
        ),
    ],
)
def test_a_decoder_that_cannot_be_made_is_refused_before_any_audio(counting, options, message):
    running, done = counting
    config, stub = with_options(**options), running.stub
    answered = threading.Event()

    def requests(kind):
        yield kind(config=config)
        assert answered.wait(30), "the server waits for audio"
        yield kind(audio_content=SECOND)

    done.clear()
    refusals = [
        # What the audio is does not come to be known.
        refusal(stub.Transcribe, pb.TranscribeRequest(config=config, audio=b"no audio")),
        refusal(stub.TranscribeChunks, requests(pb.TranscribeChunksRequest)),
        refusal(stub.TranscribeStream, requests(pb.TranscribeStreamRequest)),
    ]
    answered.set()
    for error in refusals:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert message in error.details()
    assert done == []
