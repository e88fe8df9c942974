"""Live streams over a socket: what is said of them is what the toolkit's own streams say."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise
from queue import Queue

import grpc
import numpy as np
import pytest

from asr.audio import PcmStream
from asr.live import EndpointOptions, EndpointRule, Final, Interim, LiveOptions, LiveStream, step
from asr.nn.chunks import Chunking
from asr.nn.model import PEER, AcousticModel, AcousticModelConfig, NetworkConfig
from asr.recognizer import Recognizer
from server.api import upload
from server.limits import MAX_LOOK_AHEAD, MIN_LOOK_AHEAD, STREAM_BYTES
from server.pb.v1 import speech_pb2 as pb

RATE = 16_000
RAW = pb.RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=RATE)
END = pb.TranscribeStreamRequest(end_segment=pb.EndSegment())
PAUSES = pb.EndpointingConfig(
    rule1_min_trailing_silence={"nanos": 400_000_000},
    rule2_min_trailing_silence={"nanos": 400_000_000},
)
PAUSE_OPTIONS = EndpointOptions(
    rule1=EndpointRule(False, 0.4, 0.0), rule2=EndpointRule(True, 0.4, 0.0)
)


@pytest.fixture(scope="module")
def running(serving, recognizer):
    with serving(recognizer, idle_seconds=5.0) as running:
        yield running


@pytest.fixture(scope="module")
def speech(samples_of) -> bytes:
    """Two utterances with a second of digital silence behind each."""
    quiet = np.zeros(RATE, np.float32)
    whole = np.concatenate([samples_of(1, 1.5), quiet, samples_of(2, 1.2), quiet])
    return (whole * 32767).astype("<i2").tobytes()


def configured(raw: pb.RecognitionConfig = RAW, **options) -> pb.StreamingRecognitionConfig:
    options = {"interim_results": True, **options}
    return pb.StreamingRecognitionConfig(config=raw, **options)


def ask(running, config, *messages, timeout: float = 60.0) -> list[pb.TranscribeStreamResponse]:
    """The answers; of ``messages`` bytes are audio."""

    def requests():
        yield pb.TranscribeStreamRequest(streaming_config=config)
        for message in messages:
            is_audio = isinstance(message, bytes)
            yield pb.TranscribeStreamRequest(audio_content=message) if is_audio else message

    return list(running.stub.TranscribeStream(requests(), timeout=timeout))


def test_what_is_said_is_counted(running, speech):
    """Chunks, why segments ended, and the words of interim results, which a client has not to see
    again."""
    registry = running.application.metrics.registry

    def counted():
        names = ["chunk_seconds_count", "words_shown_total", "words_changed_total"]
        ends = [
            registry.get_sample_value("asr_live_finals_total", {"reason": reason})
            for reason in ("rule2", "forced")
        ]
        return np.array([*(registry.get_sample_value(f"asr_live_{name}") for name in names), *ends])

    before = counted()
    answers = ask(running, configured(endpointing_config=PAUSES), speech, END)
    chunks, shown, changed, ended, forced = counted() - before
    seen, lost, open_ = 0, 0, set()
    for answer in answers[1:]:
        parts = answer.results.results
        words = set(enumerate("".join(texts_of(parts)).split()))
        if not parts[0].is_final:
            open_ |= words
            continue
        seen, lost, open_ = seen + len(open_), lost + len(open_ - words), set()
    assert chunks >= 2
    assert (shown, changed) == (seen, lost)
    assert shown > 0
    assert ended + forced == len(finals(answers))


def refused(running, config, *messages) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        ask(running, config, *messages)
    return caught.value.code(), caught.value.details()


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def finals(answers) -> list[pb.StreamingRecognitionResult]:
    return [part for answer in answers for part in answer.results.results if part.is_final]


def texts(answers) -> list[str]:
    return texts_of(finals(answers))


def texts_of(parts) -> list[str]:
    return [part.alternatives[0].transcript for part in parts]


def seconds(duration) -> float:
    return duration.ToNanoseconds() / 1e9


def chunking_of(recognizer, latency: str, look_ahead: float | None) -> Chunking:
    chunking, frame = recognizer.bundle.chunking(latency), recognizer.seconds_per_frame
    return (
        chunking if look_ahead is None else replace(chunking, look_ahead=round(look_ahead / frame))
    )


def expected(recognizer, data: bytes, endpoint=None, *, ends=(), **options) -> list[Final]:
    """What the toolkit's own stream says of LINEAR16, given at once; ``ends`` of segments are the
    client's, in bytes.
    """
    chunking = chunking_of(
        recognizer, options.pop("latency", "medium"), options.pop("look_ahead", None)
    )
    streamer = recognizer.streamer(chunking)
    live = LiveStream(
        streamer,
        recognizer.decoder(),
        recognizer.tokenizer,
        LiveOptions(endpoint or EndpointOptions(), **options),
        recognizer.gate,
    )
    events = []
    for start, end in pairwise((0, *ends, len(data))):
        live.push(np.frombuffer(data[start:end], "<i2").astype(np.float32) / 32768)
        events += live.finish() if end == len(data) else live.force_end()
        while live.is_ready:
            events += step(streamer, [live])[0]
    assert any(isinstance(event, Interim) for event in events)
    return [event for event in events if isinstance(event, Final)]


def test_final_results_are_those_of_the_toolkit(running, recognizer, speech):
    config = configured(endpointing_config=PAUSES)
    answers = ask(running, config, *pieces_of(speech, 3_200))
    wanted = expected(recognizer, speech, PAUSE_OPTIONS)
    assert len(wanted) == 2
    assert texts(answers) == [final.text for final in wanted]
    for part, final in zip(finals(answers), wanted, strict=True):
        assert seconds(part.segment_start_time) == pytest.approx(final.start, abs=1e-9)
        assert seconds(part.result_end_time) == pytest.approx(final.end, abs=1e-9)
        best = part.alternatives[0]
        assert best.confidence == pytest.approx(final.hypotheses[0].confidence)
        assert best.score == pytest.approx(final.hypotheses[0].score)
        assert not best.words, "nobody asked for them"


def test_interim_results_grow_and_never_take_back_what_is_settled(running, speech):
    config = configured(endpointing_config=PAUSES, latency="LATENCY_LOW")
    answers = ask(running, config, *pieces_of(speech, 3_200))
    settled, segments, seen = "", 0, 0
    for answer in answers[1:]:
        parts = answer.results.results
        if parts[0].is_final:
            assert len(parts) == 1
            assert parts[0].alternatives[0].transcript.startswith(settled)
            assert parts[0].stability == 0
            settled, segments = "", segments + 1
            continue
        stabilities = [part.stability for part in parts]
        assert all(0 <= stability < 1 for stability in stabilities[1:])
        fixed = parts[0].alternatives[0].transcript if stabilities[0] == 1 else ""
        assert fixed.startswith(settled)
        settled, seen = fixed, seen + 1
    assert segments == 2
    assert seen > 3


def test_without_being_asked_for_there_are_no_interim_results(running, speech):
    answers = ask(running, configured(interim_results=False), speech)
    assert all(answer.results.results[0].is_final for answer in answers[1:])
    assert len(answers) == 2


def test_words_come_with_interim_and_final_results_where_asked_for(running, recognizer, speech):
    raw = pb.RecognitionConfig()
    raw.CopyFrom(RAW)
    raw.enable_word_time_offsets = True
    answers = ask(running, configured(raw, endpointing_config=PAUSES), *pieces_of(speech, 3_200))
    for answer in answers[1:]:
        parts = answer.results.results
        text = "".join(part.alternatives[0].transcript for part in parts)
        words = [word for part in parts for word in part.alternatives[0].words]
        assert [word.word for word in words] == text.split()
        for word in words:
            start = seconds(parts[0].segment_start_time)
            assert start <= seconds(word.start_time) <= seconds(word.end_time)
    wanted = expected(recognizer, speech, PAUSE_OPTIONS)[1].hypotheses[0].words
    found = finals(answers)[1].alternatives[0].words
    assert [seconds(word.start_time) for word in found] == pytest.approx([w.start for w in wanted])


def test_a_stream_is_told_what_becomes_of_it(running, recognizer):
    frame = recognizer.seconds_per_frame
    chunking = recognizer.bundle.chunking()
    for asked, given in ((None, chunking.look_ahead * frame), (0.31, None), (MAX_LOOK_AHEAD, None)):
        config = configured()
        if asked is not None:
            config.look_ahead.FromNanoseconds(round(asked * 1e9))
        started = ask(running, config)[0].started
        assert not started.answers_at_end
        assert started.model == "stand-in"
        assert seconds(started.look_ahead) == pytest.approx(given or asked, abs=frame / 2 + 1e-9)
        assert seconds(started.look_ahead) / frame == pytest.approx(
            round(seconds(started.look_ahead) / frame)
        )
        assert seconds(started.chunk) == pytest.approx(chunking.frames * frame)
        assert seconds(started.max_audio) == STREAM_BYTES // (2 * RATE)


def test_a_class_of_latency_is_the_models_own(running, recognizer, speech):
    frame = recognizer.seconds_per_frame
    for latency in ("low", "high"):
        answers = ask(running, configured(latency=f"LATENCY_{latency.upper()}"), speech)
        chunking = recognizer.bundle.chunking(latency)
        assert seconds(answers[0].started.chunk) == pytest.approx(chunking.frames * frame)
        assert seconds(answers[0].started.look_ahead) == pytest.approx(chunking.look_ahead * frame)
        wanted = expected(recognizer, speech, latency=latency)
        assert texts(answers) == [final.text for final in wanted]


def test_a_longer_look_ahead_is_the_one_that_is_heard(running, recognizer, speech):
    config = configured(look_ahead={"seconds": 1})
    wanted = expected(recognizer, speech, look_ahead=1.0)
    assert texts(ask(running, config, speech)) == [final.text for final in wanted]
    assert wanted != expected(recognizer, speech)


@pytest.mark.parametrize(
    ("encoding", "make"),
    [
        ("AUDIO_ENCODING_WAV", lambda file_of, samples: file_of(samples, RATE, "WAV", "PCM_16")),
        ("AUDIO_ENCODING_FLAC", lambda file_of, samples: file_of(samples, RATE, "FLAC", "PCM_16")),
        (
            "AUDIO_ENCODING_UNSPECIFIED",
            lambda file_of, samples: file_of(samples, RATE, "AU", "PCM_16"),
        ),
    ],
)
def test_files_are_heard_as_their_samples(running, recognizer, speech, file_of, encoding, make):
    """WAV while it comes, the others when all has come, as the server says."""
    samples = np.frombuffer(speech, "<i2")
    config = configured(pb.RecognitionConfig(encoding=encoding))
    answers = ask(running, config, *pieces_of(make(file_of, samples), 5_000))
    assert answers[0].started.answers_at_end == (encoding != "AUDIO_ENCODING_WAV")
    assert texts(answers) == [final.text for final in expected(recognizer, speech)]


@pytest.mark.parametrize("kind", ["MP4", "MP3", "AAC"])
def test_files_that_cannot_be_read_in_pieces_are_read_whole(running, speech, rubbish, kind):
    pytest.importorskip("av", reason="the extra `formats` is not installed")
    samples = np.frombuffer(speech, "<i2").astype(np.float32) / 32768
    names = {"MP4": "M4A AAC", "MP3": "MP3 of LAME"}
    data = rubbish.foreign(samples, RATE, names.get(kind, kind))
    config = configured(pb.RecognitionConfig(encoding=f"AUDIO_ENCODING_{kind}"))
    answers = ask(running, config, *pieces_of(data, 1_000))
    assert answers[0].started.answers_at_end
    assert texts(answers)[0]


@pytest.fixture(scope="module")
def recorded(rubbish, speech):
    """``speech`` as browsers record it, by the name of its encoding."""
    pytest.importorskip("av", reason="the extra `formats` is not installed")
    samples = np.frombuffer(speech, "<i2").astype(np.float32) / 32768
    kinds = {"OGG": "Ogg Opus", "WEBM": "WebM as a browser records"}
    # Opus has no rate of 44.1 kHz, and recorders bring 48 kHz.
    loud = np.repeat(samples, 3)
    return {name: rubbish.foreign(loud, 3 * RATE, kind) for name, kind in kinds.items()}


@pytest.mark.parametrize("encoding", ["OGG", "WEBM"])
def test_what_browsers_record_is_heard_while_it_comes(running, recorded, encoding):
    """Text comes before the last third is sent, and any pieces have the same text in the end."""
    data = recorded[encoding]
    raw = pb.RecognitionConfig(encoding=f"AUDIO_ENCODING_{encoding}")
    config = configured(raw, endpointing_config=PAUSES)
    heard = threading.Event()

    def requests():
        yield pb.TranscribeStreamRequest(streaming_config=config)
        early = 2 * len(data) // 3
        for piece in pieces_of(data[:early], 300):
            yield pb.TranscribeStreamRequest(audio_content=piece)
        assert heard.wait(30), "no text before the end"
        yield pb.TranscribeStreamRequest(audio_content=data[early:])

    answers = []
    for answer in running.stub.TranscribeStream(requests(), timeout=60):
        answers.append(answer)
        if any(part.alternatives[0].transcript for part in answer.results.results):
            heard.set()
    assert not answers[0].started.answers_at_end
    for size in (7_001, 100):
        assert finals(ask(running, config, *pieces_of(data, size))) == finals(answers)


@pytest.mark.parametrize("encoding", ["OGG", "WEBM"])
def test_a_recording_ends_a_segment_where_it_is_told_to(running, recorded, encoding):
    data = recorded[encoding]
    config = configured(pb.RecognitionConfig(encoding=f"AUDIO_ENCODING_{encoding}"))
    answers = ask(running, config, data[: len(data) // 2], END, data[len(data) // 2 :])
    assert len(finals(answers)) == 2


@pytest.mark.parametrize("encoding", ["OGG", "WEBM"])
def test_rubbish_within_a_recording_ends_its_stream_alone(running, recorded, encoding):
    data = recorded[encoding]
    config = configured(pb.RecognitionConfig(encoding=f"AUDIO_ENCODING_{encoding}"))
    for bad in (b"", data[:5_000] + bytes(5_000)):
        code, details = refused(running, config, *pieces_of(bad, 1_000))
        assert code == grpc.StatusCode.INVALID_ARGUMENT, details
    assert texts(ask(running, config, data))[0]


def test_what_was_heard_before_a_fault_of_the_audio_is_told(running, recognizer, speech):
    config = configured(
        pb.RecognitionConfig(encoding="AUDIO_ENCODING_FLOAT", sample_rate_hertz=RATE)
    )
    samples = np.frombuffer(speech, "<i2").astype("<f4") / 32768
    broken = samples.tobytes() + np.full(RATE, np.nan, "<f4").tobytes()
    requests = [
        pb.TranscribeStreamRequest(streaming_config=config),
        *(pb.TranscribeStreamRequest(audio_content=piece) for piece in pieces_of(broken, 6_400)),
    ]
    answers = []
    call = running.stub.TranscribeStream(iter(requests), timeout=60)
    with pytest.raises(grpc.RpcError) as caught:
        answers.extend(call)
    assert "not a finite number" in caught.value.details()
    assert texts(answers) == [final.text for final in expected(recognizer, speech)]


def test_telephone_audio_in_pieces_of_20_ms(running, recognizer, samples_of, file_of):
    """Mu-law at 8 kHz, as a line brings it; the rate is the model's when it is heard."""
    samples = samples_of(3, 2.0, 8_000)
    data = file_of(samples, 8_000, "RAW", "ULAW")
    raw = pb.RecognitionConfig(encoding="AUDIO_ENCODING_MULAW", sample_rate_hertz=8_000)
    source = PcmStream("MULAW", 8_000, 1, None, RATE)
    heard = np.concatenate([source.push(data), source.end()])
    config = configured(raw, interim_results=False)
    answers = ask(running, config, *pieces_of(data, 160))
    direct = pb.RecognitionConfig(encoding="AUDIO_ENCODING_FLOAT", sample_rate_hertz=RATE)
    assert texts(answers) == texts(ask(running, configured(direct), heard.tobytes()))
    assert texts(answers)[0]


def test_pieces_of_one_byte_are_heard_as_the_whole(running, samples_of, file_of):
    data = file_of(samples_of(4, 1.0, 4_000), 4_000, "RAW", "PCM_16")[:5_001]  # and one is cut
    raw = pb.RecognitionConfig(encoding="AUDIO_ENCODING_MULAW", sample_rate_hertz=4_000)
    whole = ask(running, configured(raw), data)
    assert texts(whole)[0]
    assert finals(ask(running, configured(raw), *pieces_of(data, 1))) == finals(whole)


def test_an_empty_stream_has_no_results(running):
    for audio in ((), (b"",), (b"\0\0" * 10,)):
        assert len(ask(running, configured(), *audio)) == 1


# The end of a segment


def test_the_client_can_end_a_segment(running, recognizer, speech):
    """At once: its final result comes before the client sends anything more."""
    queue: Queue[object] = Queue()
    first, second = speech[: 2 * RATE], speech[2 * RATE : 4 * RATE]

    def requests():
        yield pb.TranscribeStreamRequest(streaming_config=configured(interim_results=False))
        yield from iter(queue.get, None)

    call = running.stub.TranscribeStream(requests(), timeout=60)
    assert next(call).HasField("started")
    for message in (pb.TranscribeStreamRequest(audio_content=first), END):
        queue.put(message)
    (result,) = next(call).results.results
    assert result.is_final
    assert seconds(result.result_end_time) == 1.0
    queue.put(pb.TranscribeStreamRequest(audio_content=second))
    queue.put(None)
    (last,) = finals(call)
    assert seconds(last.segment_start_time) == 1.0
    wanted = expected(recognizer, first + second, ends=[len(first)])
    assert texts_of([result, last]) == [final.text for final in wanted]


@pytest.mark.parametrize(("rate", "encoding"), [(8_000, "MULAW"), (16_000, "LINEAR16")])
@pytest.mark.parametrize("frames", [900, 12_077])
def test_an_end_of_a_segment_has_all_audio_that_has_come(
    running, samples_of, file_of, rate, encoding, frames
):
    """To the sample, as the end of the stream does: of little audio too, and after resampling."""
    samples = samples_of(2, 2.0, rate)[:frames]
    data = file_of(samples, rate, "RAW", "ULAW" if encoding == "MULAW" else "PCM_16")
    raw = pb.RecognitionConfig(encoding=f"AUDIO_ENCODING_{encoding}", sample_rate_hertz=rate)
    config = configured(raw, interim_results=False)
    (ended,) = finals(ask(running, config, data, END))
    assert seconds(ended.result_end_time) == pytest.approx(frames / rate, abs=1e-4)
    whole = finals(ask(running, config, data))
    if whole:
        assert ended.alternatives == whole[0].alternatives
    else:
        assert not ended.alternatives[0].transcript


def test_an_end_of_nothing_is_answered_too(running):
    answers = ask(running, configured(), END, END)
    assert texts(answers) == ["", ""]


def test_a_single_utterance_ends_the_stream(running, speech):
    """Audio after it is not read, and the status is OK, however much the client still sends."""
    config = configured(single_utterance=True, endpointing_config=PAUSES)
    answers = ask(running, config, *pieces_of(speech, 3_200), *([speech] * 20))
    assert len(finals(answers)) == 1
    event = answers[-1].results.speech_event_type
    assert event == pb.SPEECH_EVENT_TYPE_END_OF_SINGLE_UTTERANCE
    assert seconds(finals(answers)[0].result_end_time) < 2.5


def test_audio_after_a_forced_end_of_a_single_utterance_is_not_read(running, speech):
    answers = ask(running, configured(single_utterance=True), speech[:RATE], END, *([speech] * 20))
    (final,) = finals(answers)
    assert seconds(final.result_end_time) == 0.5


# What cannot be


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"look_ahead": {"nanos": 99_000_000}}, "look_ahead is 0.099 s"),
        ({"look_ahead": {"seconds": 2, "nanos": 1}}, "look_ahead is 2 s"),
        ({"look_ahead": {"seconds": -1}}, "look_ahead is -1 s"),
        ({"look_ahead": {"seconds": 2**62}}, "look_ahead is"),
        ({"latency": 4}, "latency 4 is unknown"),
        (
            {"endpointing_config": {"rule1_min_trailing_silence": {"nanos": 1}}},
            "rule1_min_trailing_silence is 1e-09 s",
        ),
        (
            {"endpointing_config": {"rule2_min_trailing_silence": {"seconds": 601}}},
            "rule2_min_trailing_silence is 601 s",
        ),
        (
            {"endpointing_config": {"rule3_min_utterance_length": {"seconds": 61}}},
            "rule3_min_utterance_length is 61 s",
        ),
    ],
)
def test_options_out_of_range_are_refused_before_any_audio(running, options, words):
    code, details = refused(running, configured(**options))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert words in details
    assert "give" in details, "the remedy"


@pytest.mark.parametrize(
    "options",
    [
        {"sample_rate_hertz": 3_999},
        {"audio_channel_count": 9},
        {"audio_channel": 9},
        {"encoding": 99},
        {"beam_width": 101},
        {"max_alternatives": 31},
        {"decoder": "viterbi"},
        {"model": "another"},
        {"decoder": "beam", "lm_weight": 1.0},
        {"speech_contexts": [pb.SpeechContext(phrases=["a"] * 501)]},
    ],
)
def test_what_other_methods_refuse_is_refused_alike(running, options):
    raw = pb.RecognitionConfig()
    raw.CopyFrom(RAW)
    raw.MergeFrom(pb.RecognitionConfig(**options))
    with pytest.raises(grpc.RpcError) as caught:
        running.stub.Transcribe(pb.TranscribeRequest(config=raw, audio=bytes(64_000)), timeout=60)
    assert refused(running, configured(raw)) == (caught.value.code(), caught.value.details())


def test_what_is_at_the_limits_is_taken(running, speech):
    for nanos in (MIN_LOOK_AHEAD * 1e9, MAX_LOOK_AHEAD * 1e9):
        config = configured()
        config.look_ahead.FromNanoseconds(round(nanos))
        assert texts(ask(running, config, speech))


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (pb.TranscribeStreamRequest(streaming_config=configured()), "sent once"),
        (pb.TranscribeStreamRequest(config=RAW), "sent once"),
        (pb.TranscribeStreamRequest(), "holds no audio"),
    ],
)
def test_options_cannot_change_in_mid_stream(running, speech, message, words):
    code, details = refused(running, configured(), speech[:3_200], message)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert words in details


def test_a_stream_that_is_answered_at_its_end_has_no_segments(running, speech):
    requests = [pb.TranscribeStreamRequest(config=RAW), END]
    with pytest.raises(grpc.RpcError, match="holds no audio"):
        list(running.stub.TranscribeStream(iter(requests), timeout=30))
    flac = pb.RecognitionConfig(encoding="AUDIO_ENCODING_FLAC")
    code, _ = refused(running, configured(flac), END)
    assert code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_decoder_that_hears_all_first_is_refused(running):
    raw = pb.RecognitionConfig(encoding=1, sample_rate_hertz=RATE, decoder="prefix")
    code, details = refused(running, configured(raw))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "hears all of the audio" in details


@pytest.mark.parametrize(
    ("audio", "raw", "words"),
    [
        (b"RIFF\0\0\0\0WAVEfmt " + bytes(4_000), RAW, "with a header: WAV"),
        (bytes(4_001), RAW, "within a frame"),
        (
            np.array([0.0, np.inf] * 2_000, "<f4").tobytes(),
            pb.RecognitionConfig(encoding="AUDIO_ENCODING_FLOAT", sample_rate_hertz=RATE),
            "sample 1 is not a finite number",
        ),
    ],
)
def test_audio_that_cannot_be_is_refused(running, audio, raw, words):
    code, details = refused(running, configured(raw), audio)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert words in details


def test_a_stream_is_bounded_in_all_to_the_byte(running, monkeypatch, speech):
    monkeypatch.setattr(upload, "STREAM_BYTES", len(speech))
    assert texts(ask(running, configured(), *pieces_of(speech, 10_000)))
    code, details = refused(running, configured(), *pieces_of(speech, 10_000), b"\0")
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert f"more than {len(speech)} bytes" in details


def test_a_model_without_chunks_has_no_live_streams(serving, recognizer):
    """`torch.nn.LSTM` runs both directions in one go."""
    bundle = recognizer.bundle
    config = AcousticModelConfig(
        bundle.extractor.config.size, bundle.tokenizer.size, NetworkConfig(8, 1, cell=PEER)
    )
    with serving(Recognizer(replace(bundle, model=AcousticModel(config)))) as running:
        (model,) = running.stub.ListModels(pb.ListModelsRequest()).models
        assert model.answers_at_end
        code, details = refused(running, configured())
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "chunks" in details


def test_a_model_with_chunks_says_so(running):
    (model,) = running.stub.ListModels(pb.ListModelsRequest()).models
    assert not model.answers_at_end


# Others


def test_streams_side_by_side_hear_what_each_would_alone(running, speech):
    parts = [speech[n * 4_000 :] for n in range(6)]
    alone = [finals(ask(running, configured(), part)) for part in parts]
    together: dict[int, list[pb.StreamingRecognitionResult]] = {}

    def talk(n: int) -> None:
        answers = ask(running, configured(), *pieces_of(parts[n], 1_600))
        together[n] = finals(answers)

    threads = [threading.Thread(target=talk, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, result in enumerate(alone):
        assert together[n] == result, "to the bit"
