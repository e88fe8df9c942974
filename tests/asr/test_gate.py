"""Audio without words gives no words where that is certain, or wanted; speech is never lost."""

import math

import numpy as np
import pytest

from asr.audio import read_audio, resample
from asr.decoding import BeamOptions, GreedyOptions, PrefixOptions
from asr.gate import Gate, loudest_level
from asr.recognizer import Recognizer
from asr.types import AudioError, ConfigError, Hypothesis, Waveform

RATE = 16_000


def constant(value, seconds=3.0, rate=RATE):
    return Waveform(np.full(int(seconds * rate), value, np.float32), rate)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("value", [0.0, 0.3, -1.0, 1e-4])
@pytest.mark.parametrize("options", [GreedyOptions(), BeamOptions(nbest=3), PrefixOptions()])
def test_equal_samples_hold_no_words(bundle_of, value, rate, options):
    recognizer = Recognizer(bundle_of())
    [transcript] = recognizer.recognize([constant(value, rate=rate)], recognizer.decoder(options))
    assert transcript.text == ""
    assert transcript.duration == 3.0
    assert transcript.hypotheses[0].confidence == 1.0


def test_without_its_gate_the_model_finds_words_in_silence(bundle_of):
    """What the gate is for: the model itself says something, as others do."""
    recognizer = Recognizer(bundle_of())
    decoded = recognizer.decoder().decode(*recognizer.log_probs([constant(0.0)]))
    assert decoded[0][0].text != ""


def test_a_constant_stays_one_at_any_rate():
    """As in the server, where audio is resampled before the recogniser has it."""
    for rate in (8_000, 44_100):
        resampled = resample(constant(0.3, 1.0, rate), RATE)
        assert abs(len(resampled.samples) - RATE) <= 1
        np.testing.assert_array_equal(resampled.samples, np.float32(0.3))


def test_silence_in_a_batch_changes_nothing_of_the_others(bundle_of, waveform_of):
    recognizer = Recognizer(bundle_of())
    speech = [waveform_of(seed, 0.5 + 0.3 * seed) for seed in range(3)]
    mixed = [constant(0.0), speech[0], speech[1], constant(0.5, 9.0), speech[2]]
    expected = recognizer.recognize(speech)
    transcripts = recognizer.recognize(mixed)
    assert [transcripts[index] for index in (1, 2, 4)] == expected
    assert transcripts[0].text == transcripts[3].text == ""
    assert [each.text for each in recognizer.recognize([constant(0.0)] * 2)] == ["", ""]
    assert recognizer.recognize([]) == []


def test_silence_too_short_to_recognise_is_still_an_error(bundle_of):
    with pytest.raises(AudioError, match="too short"):
        Recognizer(bundle_of()).recognize([constant(0.0, 0.001)])


@pytest.mark.parametrize("gain", [0.0, -40.0])
@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_levels_are_those_of_the_loudest_moment(gain, offset):
    time = np.arange(RATE) / RATE
    sine = 10 ** (gain / 20) * np.sin(2 * np.pi * 440 * time)
    for samples in (sine, np.concatenate([np.zeros(5 * RATE), sine[:4_000], np.zeros(999)])):
        level = loudest_level((samples + offset).astype(np.float32), RATE)
        assert level == pytest.approx(gain - 3.01, abs=0.1)
    assert loudest_level(np.zeros(5, np.float32), RATE) == -math.inf
    assert loudest_level(np.zeros(0, np.float32), RATE) == -math.inf


def test_what_is_below_the_level_has_no_words(bundle_of, waveform_of):
    speech = waveform_of(1, 1.0)
    faint = Waveform(speech.samples * np.float32(1e-4), RATE)
    level = loudest_level(speech.samples, RATE)
    recognizer = Recognizer(bundle_of(), gate=Gate(min_level=level - 40))
    heard, unheard = recognizer.recognize([speech, faint])
    assert heard.text != ""
    assert unheard.text == ""
    assert Recognizer(bundle_of()).recognize([faint])[0].text != "", "it is off by default"


def test_a_doubtful_result_is_emptied(bundle_of, waveform_of):
    speech = waveform_of(1, 1.0)
    [plain] = Recognizer(bundle_of()).recognize([speech])
    sure = plain.hypotheses[0].confidence
    at, above = (Gate(min_confidence=least) for least in (sure, min(sure + 1e-6, 1.0)))
    assert Recognizer(bundle_of(), gate=at).recognize([speech]) == [plain]
    [emptied] = Recognizer(bundle_of(), gate=above).recognize([speech])
    assert emptied.hypotheses == (
        Hypothesis("", plain.hypotheses[0].score, sure, lm_score=plain.hypotheses[0].lm_score),
    )


@pytest.mark.parametrize(
    "options",
    [
        *({"min_level": 1.0}, {"min_level": math.nan}, {"min_confidence": -0.1}),
        *({"min_confidence": 1.1}, {"min_confidence": math.nan}),
    ],
)
def test_impossible_gates_are_refused(options):
    with pytest.raises(ConfigError):
        Gate(**options)


@pytest.mark.parametrize(
    ("corpus", "suffix"),
    [("an4", ".flac"), ("librispeech_opus", ".opus"), ("timit_sample", ".wav")],
)
def test_speech_is_never_taken_for_silence(shared_data, corpus, suffix):
    """By the default not even 40 dB below its level; by -60 dB, as it was recorded."""
    files = sorted(shared_data(corpus).rglob(f"*{suffix}"))
    for path in files[:: max(len(files) // 60, 1)]:
        waveform = read_audio(path)
        faint = np.rint(waveform.samples * 32_768 / 100).astype(np.float32) / 32_768  # 16 bits
        assert not Gate().is_silent(faint, waveform.sample_rate)
        assert not Gate(min_level=-60.0).is_silent(waveform.samples, waveform.sample_rate)
