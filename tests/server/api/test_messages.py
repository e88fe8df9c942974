"""Options and audio of a request become the toolkit's values, or an error that says why not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from asr.decoding import (
    BeamOptions,
    DecoderOptions,
    GreedyOptions,
    Phrase,
    PrefixOptions,
    make_decoder,
)
from asr.tokens import Tokenizer
from asr.types import (
    AudioError,
    DecodingError,
    Hypothesis,
    Search,
    TimedToken,
    Transcript,
    Word,
)
from server.api.messages import read_job, read_options, read_phrases, write_result
from server.audio.pool import AudioJob
from server.limits import (
    MAX_ALTERNATIVES,
    MAX_BEAM_WIDTH,
    MAX_BOOST,
    MAX_PHRASE_CHARACTERS,
    MAX_PHRASES,
    MESSAGE_LIMIT,
    PREFIX_EXPANSIONS,
)
from server.pb.v1 import speech_pb2 as pb

GREEDY = GreedyOptions()
PREFIX = PrefixOptions(max_expansions=PREFIX_EXPANSIONS)
BEAM = BeamOptions(beam_width=7, nbest=2, token_min_log_prob=-5.0)


def bundle(decoder: DecoderOptions, language: object = None) -> SimpleNamespace:
    """What is asked of a bundle."""
    return SimpleNamespace(decoder=decoder, language=language)


@pytest.mark.parametrize("default", [GREEDY, BEAM])
def test_without_options_the_model_decides(default):
    assert read_options(pb.RecognitionConfig(), bundle(default)) == default


@pytest.mark.parametrize(
    ("given", "default", "expected"),
    [
        ({"decoder": "beam"}, GREEDY, BeamOptions()),
        ({"decoder": "greedy"}, BEAM, GREEDY),
        ({"beam_width": 9}, GREEDY, BeamOptions(beam_width=9)),
        ({"max_alternatives": 3}, GREEDY, BeamOptions(nbest=3)),
        ({"max_alternatives": 1}, GREEDY, GREEDY),
        ({"max_alternatives": 1}, BEAM, BeamOptions(7, 1, -5.0)),
        ({"beam_width": 9}, BEAM, BeamOptions(9, 2, -5.0)),
        ({"decoder": "prefix"}, GREEDY, PREFIX),
        ({"max_alternatives": 3}, PREFIX, replace(PREFIX, nbest=3)),
        ({"beam_width": 9}, PREFIX, BeamOptions(beam_width=9)),
        ({"lm_weight": 0.0}, GREEDY, BeamOptions(lm_weight=0.0)),
        ({"lm_weight": 0.0}, BEAM, BeamOptions(7, 2, -5.0, lm_weight=0.0)),
        ({"speech_contexts": [pb.SpeechContext(phrases=["a"])]}, GREEDY, BeamOptions()),
        # The most that may come; greedy search finds one.
        ({"decoder": "greedy", "max_alternatives": 3}, BEAM, GREEDY),
    ],
)
def test_options_change_the_models_decoder(given, default, expected):
    assert read_options(pb.RecognitionConfig(**given), bundle(default)) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"decoder": "viterbi"},
        {"beam_width": -1},
        {"beam_width": MAX_BEAM_WIDTH + 1},
        {"max_alternatives": -1},
        {"max_alternatives": MAX_ALTERNATIVES + 1, "beam_width": 100},
        {"max_alternatives": 5, "beam_width": 4},
        {"decoder": "wfst"},
        {"lm_weight": 1.0},
        {"lm_weight": -1.0},
        {"lm_weight": float("nan")},
        {"lm_weight": 0.5, "decoder": "greedy"},
        {"lm_weight": 0.0, "decoder": "greedy"},
        {"beam_width": 9, "decoder": "greedy"},
        {"beam_width": 9, "decoder": "prefix"},
        {"speech_contexts": [pb.SpeechContext(phrases=["a"])], "decoder": "prefix"},
    ],
)
def test_impossible_decoder_options_are_refused(given):
    with pytest.raises(DecodingError):
        read_options(pb.RecognitionConfig(**given), bundle(GREEDY))


def test_a_refusal_names_the_fields_of_the_request():
    contexts = [pb.SpeechContext(phrases=["a"])]
    config = pb.RecognitionConfig(decoder="greedy", beam_width=9, speech_contexts=contexts)
    with pytest.raises(DecodingError, match="greedy decoding takes no beam_width, speech_contexts"):
        read_options(config, bundle(GREEDY))


def test_the_weight_of_a_language_model_is_the_requests_or_the_models():
    tuned = BeamOptions(lm_weight=0.75)
    for given, weight in (({}, 0.75), ({"lm_weight": 2.0}, 2.0), ({"lm_weight": 0.0}, 0.0)):
        config = pb.RecognitionConfig(**given)
        assert read_options(config, bundle(tuned, language="a model")).lm_weight == weight


def test_phrases_have_the_boost_of_their_context():
    contexts = [
        pb.SpeechContext(phrases=["SEPP", "LINZ"], boost=2.5),
        pb.SpeechContext(phrases=["GRAVES"]),
        pb.SpeechContext(phrases=["ALEX"], boost=-3),
    ]
    assert read_phrases(pb.RecognitionConfig(speech_contexts=contexts)) == (
        Phrase("SEPP", 2.5),
        Phrase("LINZ", 2.5),
        Phrase("GRAVES"),
        Phrase("ALEX", -3.0),
    )
    assert read_phrases(pb.RecognitionConfig()) == ()


@pytest.mark.parametrize(
    "context",
    [
        pb.SpeechContext(phrases=["A"], boost=MAX_BOOST + 1),
        pb.SpeechContext(phrases=["A"], boost=-MAX_BOOST - 1),
        pb.SpeechContext(phrases=["A"], boost=float("nan")),
        pb.SpeechContext(phrases=["A"] * (MAX_PHRASES + 1)),
        pb.SpeechContext(phrases=["A" * (MAX_PHRASE_CHARACTERS + 1)]),
        pb.SpeechContext(phrases=[" "]),
    ],
)
def test_impossible_phrases_are_refused(context):
    with pytest.raises(DecodingError):
        read_phrases(pb.RecognitionConfig(speech_contexts=[context]))


def test_the_documented_ranges_are_accepted():
    config = pb.RecognitionConfig(beam_width=MAX_BEAM_WIDTH, max_alternatives=MAX_ALTERNATIVES)
    assert read_options(config, bundle(GREEDY)).nbest == MAX_ALTERNATIVES


@pytest.mark.parametrize(
    ("given", "job"),
    [
        ({}, AudioJob("", 0, 0, None, 16000)),
        ({"sample_rate_hertz": 8000}, AudioJob("", 8000, 0, None, 16000)),
        ({"encoding": "AUDIO_ENCODING_FLAC"}, AudioJob("FLAC", 0, 0, None, 16000)),
        ({"encoding": "AUDIO_ENCODING_OGG"}, AudioJob("OGG", 0, 0, None, 16000)),
        ({"encoding": "AUDIO_ENCODING_MP3"}, AudioJob("MP3", 0, 0, None, 16000)),
        ({"encoding": "AUDIO_ENCODING_MP4"}, AudioJob("MP4", 0, 0, None, 16000)),
        ({"encoding": "AUDIO_ENCODING_WEBM"}, AudioJob("WebM", 0, 0, None, 16000)),
        ({"encoding": "AUDIO_ENCODING_AAC"}, AudioJob("AAC", 0, 0, None, 16000)),
        (
            {"encoding": "AUDIO_ENCODING_WAV", "audio_channel": 2},
            AudioJob("WAV", 0, 0, 1, 16000),
        ),
        (
            {"encoding": "AUDIO_ENCODING_LINEAR16", "sample_rate_hertz": 48000},
            AudioJob("LINEAR16", 48000, 1, None, 16000),
        ),
        (
            {
                "encoding": "AUDIO_ENCODING_MULAW",
                "sample_rate_hertz": 8000,
                "audio_channel_count": 2,
                "audio_channel": 1,
            },
            AudioJob("MULAW", 8000, 2, 0, 16000),
        ),
        (
            {"encoding": "AUDIO_ENCODING_ALAW", "sample_rate_hertz": 8000},
            AudioJob("ALAW", 8000, 1, None, 16000),
        ),
        (
            {"encoding": "AUDIO_ENCODING_FLOAT", "sample_rate_hertz": 16000},
            AudioJob("FLOAT", 16000, 1, None, 16000),
        ),
    ],
)
def test_audio_is_to_be_read_as_described(given, job):
    assert read_job(pb.RecognitionConfig(**given), 16000) == job


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"encoding": 1}, "sample_rate_hertz is missing"),
        ({"encoding": 5}, "sample_rate_hertz is missing"),
        ({"encoding": 99, "sample_rate_hertz": 16000}, "encoding 99 is unknown"),
        ({"encoding": 1, "sample_rate_hertz": -16000}, "sample rate is -16000"),
        ({"encoding": 1, "sample_rate_hertz": 3999}, "sample rate is 3999"),
        ({"encoding": 1, "sample_rate_hertz": 192_001}, "sample rate is 192001"),
        ({"encoding": 1, "sample_rate_hertz": 8000, "audio_channel_count": 9}, "9 channels"),
        ({"encoding": 1, "sample_rate_hertz": 8000, "audio_channel_count": -1}, "-1 channels"),
        ({"audio_channel_count": 2}, "audio_channel_count is given for audio with a header"),
        ({"audio_channel": -1}, "audio_channel is -1"),
        ({"audio_channel": 9}, "audio_channel is 9"),
    ],
)
def test_audio_described_impossibly_is_refused(given, message):
    with pytest.raises(AudioError, match=message):
        read_job(pb.RecognitionConfig(**given), 16000)


def test_every_encoding_of_the_definition_is_read():
    for encoding in pb.AudioEncoding.values():
        assert read_job(pb.RecognitionConfig(encoding=encoding, sample_rate_hertz=8000), 16000)


TRANSCRIPT = Transcript(
    (
        Hypothesis(
            "one two",
            score=-3.25,
            confidence=0.5,
            words=(Word("one", 0.1, 0.35, 0.75), Word("two", 599.99, 600.0, 0.25)),
        ),
        Hypothesis("one", score=-4.0, confidence=0.25, tokens=(TimedToken("w", 0.5, 0.75, 1.0),)),
    ),
    duration=600.0,
)


def test_a_transcript_keeps_all_its_values():
    result = write_result(TRANSCRIPT, words=True)
    best, second = result.alternatives
    assert (best.transcript, best.score, best.confidence) == ("one two", -3.25, 0.5)
    assert [word.word for word in best.words] == ["one", "two"]
    assert best.words[0].start_time.ToTimedelta().total_seconds() == 0.1
    assert best.words[1].end_time.ToTimedelta().total_seconds() == 600.0
    assert result.result_end_time.ToTimedelta().total_seconds() == 600.0
    assert [word.word for word in second.words] == ["w"], "tokens stand in for missing words"


def test_words_come_only_when_asked_for():
    assert not any(one.words for one in write_result(TRANSCRIPT, words=False).alternatives)


def long_transcript(words: int, text: str = "phone") -> Transcript:
    spoken = tuple(Word(text, 0.05 * i, 0.05 * i + 0.04, 0.5) for i in range(words))
    return Transcript((Hypothesis("", -1.0, 0.5, words=spoken),) * MAX_ALTERNATIVES, 600.0)


def test_an_answer_fits_into_the_message_that_a_client_takes():
    result = write_result(long_transcript(12_000), words=True)
    size = pb.TranscribeResponse(results=[result]).ByteSize()
    one = result.alternatives[0].ByteSize()
    assert MESSAGE_LIMIT - one - 1000 < size <= MESSAGE_LIMIT
    short = write_result(long_transcript(100), words=True)
    assert len(short.alternatives) == MAX_ALTERNATIVES, "what fits is all there"


def test_an_answer_that_cannot_fit_is_refused():
    with pytest.raises(DecodingError, match="bytes of a message"):
        write_result(long_transcript(2, "a" * (MESSAGE_LIMIT // 2)), words=True)


@pytest.mark.parametrize("search", get_args(Search))
def test_what_a_search_proved_is_told(search):
    hypothesis = Hypothesis("a", -1.0, 1.0, search=search)
    (alternative,) = write_result(Transcript((hypothesis,), 1.0), words=False).alternatives
    assert alternative.search_proof == pb.SearchProof.Value(f"SEARCH_PROOF_{search.upper()}")


def test_a_space_is_no_word():
    tokenizer = Tokenizer(["<blank>", "<space>", "a"])
    for path, expected in (([1], []), ([1, 2, 1, 0, 1, 2, 1], ["a", "a"])):
        log_probs = torch.full((1, len(path), 3), -12.0)
        log_probs[0, range(len(path)), path] = 0.0
        for options in (GreedyOptions(), BeamOptions(nbest=3)):
            decoder = make_decoder(options, tokenizer, 0.1)
            (found,) = decoder.decode(log_probs.log_softmax(2), torch.tensor([len(path)]))
            result = write_result(Transcript(tuple(found), 0.1), words=True)
            best, *others = result.alternatives
            assert best.transcript == " ".join(expected)
            assert [word.word for word in best.words] == expected
            texts = {alternative.transcript for alternative in others}
            assert len(texts - {best.transcript}) == len(others)
