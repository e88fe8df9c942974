"""Written forms by request: of calls and of live streams, with what was spoken beside."""

from __future__ import annotations

import sys
from dataclasses import replace

import grpc
import pytest

from asr.itn import shared_normalizer
from asr.types import Word
from server.api import pipeline
from server.pb.v1 import speech_pb2 as pb

RAW = {"encoding": "AUDIO_ENCODING_LINEAR16", "sample_rate_hertz": 16000}
SECOND = b"\0\0\1\0" * 8_000
SPOKEN = ["twenty", "three", "dollars", "now"]
WORDS = tuple(Word(word, i / 4, i / 4 + 0.25, 0.5) for i, word in enumerate(SPOKEN))


def config(**options) -> pb.RecognitionConfig:
    return pb.RecognitionConfig(**RAW, enable_inverse_text_normalization=True, **options)


@pytest.fixture(scope="module")
def running(serving, stand_in):
    class Shop(stand_in):
        """A stand-in that hears a price."""

        def decode(self, *arguments):
            [[best]] = super().decode(*arguments)
            return [[replace(best, text=" ".join(SPOKEN), words=WORDS)]]

    with serving(Shop()) as running:
        yield running


def best(running, config) -> pb.SpeechRecognitionAlternative:
    request = pb.TranscribeRequest(config=config, audio=SECOND)
    return running.stub.Transcribe(request, timeout=60).results[0].alternatives[0]


def times(words) -> list[tuple[str, float, float]]:
    return [
        (w.word, w.start_time.ToNanoseconds() / 1e9, w.end_time.ToNanoseconds() / 1e9)
        for w in words
    ]


def test_a_call_gets_the_written_form_and_the_spoken_words(running):
    pytest.importorskip("wetext", reason="the extra itn is not installed")
    answer = best(running, config(enable_word_time_offsets=True))
    assert answer.transcript == "$23 now"
    assert times(answer.words) == [("$23", 0.0, 0.75), ("now", 0.75, 1.0)]
    assert answer.spoken_transcript == "twenty three dollars now"
    assert times(answer.spoken_words) == times(
        pb.WordInfo(
            word=w.text,
            start_time={"nanos": round(w.start * 1e9)},
            end_time={"seconds": int(w.end), "nanos": round(w.end % 1 * 1e9)},
        )
        for w in WORDS
    )


def test_words_come_only_where_they_are_asked_for(running):
    pytest.importorskip("wetext", reason="the extra itn is not installed")
    answer = best(running, config())
    assert (answer.transcript, answer.spoken_transcript) == ("$23 now", " ".join(SPOKEN))
    assert not answer.words
    assert not answer.spoken_words


def test_without_the_option_nothing_changes(running):
    answer = best(running, pb.RecognitionConfig(**RAW, enable_word_time_offsets=True))
    assert answer.transcript == " ".join(SPOKEN)
    assert answer.spoken_transcript == ""
    assert not answer.spoken_words


def test_a_server_without_the_rules_says_so_before_audio_comes(running, monkeypatch):
    monkeypatch.setitem(sys.modules, "wetext", None)
    shared_normalizer.cache_clear()
    with pytest.raises(grpc.RpcError) as caught:
        best(running, config())
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "extra itn" in caught.value.details()


class Shouting:
    """Stands in for the rules where a random model says no numbers."""

    def transcript(self, transcript, check):
        check()
        return replace(
            transcript,
            hypotheses=tuple(
                replace(h, text=h.text.upper(), spoken_text=h.text) for h in transcript.hypotheses
            ),
        )


def test_a_live_stream_has_it_in_its_final_results(serving, recognizer, samples_of, monkeypatch):
    monkeypatch.setattr(pipeline, "shared_normalizer", Shouting)
    audio = (samples_of(1, 4.0) * 32767).astype("<i2").tobytes()
    live = pb.StreamingRecognitionConfig(
        config=config(), interim_results=True, latency="LATENCY_LOW"
    )
    messages = [
        pb.TranscribeStreamRequest(streaming_config=live),
        pb.TranscribeStreamRequest(audio_content=audio),
    ]
    with serving(recognizer) as running:
        _, *answers = running.stub.TranscribeStream(iter(messages), timeout=60)
    parts = [part for answer in answers for part in answer.results.results]
    interim = [p.alternatives[0] for p in parts if not p.is_final]
    [final] = [p.alternatives[0] for p in parts if p.is_final]
    assert interim
    assert all(
        alternative.transcript.islower() for alternative in interim if alternative.transcript
    )
    assert final.transcript == final.spoken_transcript.upper() != ""
