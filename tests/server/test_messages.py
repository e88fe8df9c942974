"""Options and audio of a request become the toolkit's values, or an error that says why not."""

from __future__ import annotations

import numpy as np
import pytest

from asr.audio import AudioLimits
from asr.decoding import DecoderConfig
from asr.types import AudioError, DecodingError, Hypothesis, TimedToken, Transcript, Word
from server.limits import MAX_ALTERNATIVES
from server.messages import read_audio, read_decoder, write_result
from server.pb.v1 import speech_pb2 as pb

LIMITS = AudioLimits()
GREEDY = DecoderConfig(name="greedy")
PREFIX = DecoderConfig(name="prefix")
BEAM = DecoderConfig(name="beam", beam_width=7, alternatives=2, token_min_log_prob=-5.0)


@pytest.mark.parametrize("default", [GREEDY, BEAM])
def test_without_options_the_model_decides(default):
    assert read_decoder(pb.RecognitionConfig(), default) == default


@pytest.mark.parametrize(
    ("given", "default", "expected"),
    [
        ({"decoder": "beam"}, GREEDY, DecoderConfig(name="beam")),
        ({"decoder": "greedy"}, BEAM, GREEDY),
        ({"beam_width": 9}, GREEDY, DecoderConfig(name="beam", beam_width=9)),
        ({"max_alternatives": 3}, GREEDY, DecoderConfig(name="beam", alternatives=3)),
        ({"max_alternatives": 1}, GREEDY, GREEDY),
        ({"max_alternatives": 1}, BEAM, DecoderConfig("beam", 7, 1, -5.0)),
        ({"beam_width": 9}, BEAM, DecoderConfig("beam", 9, 2, -5.0)),
        ({"decoder": "prefix"}, GREEDY, PREFIX),
        ({"max_alternatives": 3}, PREFIX, DecoderConfig(name="prefix", alternatives=3)),
        ({"beam_width": 9}, PREFIX, DecoderConfig(name="beam", beam_width=9)),
    ],
)
def test_options_change_the_models_decoder(given, default, expected):
    assert read_decoder(pb.RecognitionConfig(**given), default) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"decoder": "viterbi"},
        {"beam_width": -1},
        {"beam_width": 1025},
        {"max_alternatives": -1},
        {"max_alternatives": MAX_ALTERNATIVES + 1, "beam_width": 100},
        {"max_alternatives": 5, "beam_width": 4},
    ],
)
def test_impossible_decoder_options_are_refused(given):
    with pytest.raises(DecodingError):
        read_decoder(pb.RecognitionConfig(**given), GREEDY)


def test_the_documented_ranges_are_accepted():
    config = pb.RecognitionConfig(beam_width=1024, max_alternatives=MAX_ALTERNATIVES)
    assert read_decoder(config, GREEDY).alternatives == MAX_ALTERNATIVES


def test_raw_samples_are_read_as_described():
    stereo = np.array([[1000, 3000], [-2000, 0]], dtype="<i2")
    config = pb.RecognitionConfig(
        encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=8000, audio_channel_count=2
    )
    waveform = read_audio(config, stereo.tobytes(), LIMITS)
    assert waveform.sample_rate == 8000
    np.testing.assert_array_equal(waveform.samples, np.float32([2000, -1000]) / 32768)

    config = pb.RecognitionConfig(encoding="AUDIO_ENCODING_FLOAT", sample_rate_hertz=16000)
    samples = np.float32([0.25, -0.5])
    np.testing.assert_array_equal(read_audio(config, samples.tobytes(), LIMITS).samples, samples)


def test_a_files_rate_may_be_repeated_but_not_contradicted(samples_of, file_of):
    data = file_of(samples_of(0, 0.1, 8000), 8000, "WAV", "PCM_16")
    for rate in (0, 8000):
        config = pb.RecognitionConfig(sample_rate_hertz=rate)
        assert read_audio(config, data, LIMITS).sample_rate == 8000
    with pytest.raises(AudioError, match=r"sample_rate_hertz is 16000.*header says 8000"):
        read_audio(pb.RecognitionConfig(sample_rate_hertz=16000), data, LIMITS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"encoding": 1}, "sample_rate_hertz is missing"),
        ({"encoding": 99, "sample_rate_hertz": 16000}, "encoding 99 is unknown"),
        ({"encoding": 1, "sample_rate_hertz": -16000}, "sample rate is -16000"),
        ({"encoding": 1, "sample_rate_hertz": 3999}, "sample rate is 3999"),
        ({"encoding": 1, "sample_rate_hertz": 192_001}, "sample rate is 192001"),
        ({"encoding": 1, "sample_rate_hertz": 8000, "audio_channel_count": 9}, "9 channels"),
        ({"encoding": 1, "sample_rate_hertz": 8000, "audio_channel_count": -1}, "-1 channels"),
        ({"audio_channel_count": 2}, "audio_channel_count is given, but encoding is not"),
    ],
)
def test_audio_described_impossibly_is_refused(given, message):
    with pytest.raises(AudioError, match=message):
        read_audio(pb.RecognitionConfig(**given), bytes(1440), LIMITS)


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
