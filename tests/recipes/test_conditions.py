"""Conditions that a recogniser has to stand: what they are, and what `evaluate` says of them."""

import csv
import json

import numpy as np
import pytest

from asr.audio import write_wav
from asr.gate import loudest_level
from asr.types import ConfigError, Waveform
from recipes.common.evaluate import CONDITIONS, chosen_conditions
from recipes.common.evaluate.conditions import make_conditions
from recipes.common.evaluate.no_words import LEVELS_DB, no_words

RATE = 16_000


@pytest.fixture(scope="module")
def speech():
    """Two seconds of bursts at 200 Hz to 7 kHz, with a peak of 0.5."""
    t = np.arange(2 * RATE) / RATE
    tones = sum(np.sin(2 * np.pi * hertz * t) for hertz in (200, 900, 2500, 5000, 7000))
    samples = tones * (np.sin(2 * np.pi * 2 * t) > 0)
    return Waveform((0.5 * samples / np.abs(samples).max()).astype("f4"), RATE)


def in_condition(name, waveform, utterance="u1", noise=None):
    [condition] = make_conditions([name], RATE, noise).values()
    heard = condition(waveform, utterance)
    assert heard.duration == pytest.approx(waveform.duration + condition.added_seconds)
    return heard.samples


def band_level(samples, low, high):
    power = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return 10 * np.log10(power[(hertz > low) & (hertz < high)].sum() + 1e-12)


def level(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype="f8")))


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_is_the_same_whenever_it_is_measured(name, speech):
    before = speech.samples.copy()
    first, second = (in_condition(name, speech) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(speech.samples, before)
    assert np.abs(first).max() <= 1.0


def test_each_utterance_has_noise_of_its_own(speech):
    for name in ("hiss", "noise"):
        one, other = (in_condition(name, speech, utterance) for utterance in ("u1", "u2"))
        assert np.abs(one - other).max() > 0


def test_silence_surrounds_speech_that_stays_as_it_is(speech):
    half = RATE // 2
    for name in ("silence", "hiss"):
        samples = in_condition(name, speech)
        np.testing.assert_array_equal(samples[half:-half], speech.samples)
        ends = np.concatenate([samples[:half], samples[-half:]])
        if name == "silence":
            assert not ends.any()
        else:
            assert level(ends) == pytest.approx(loudest_level(speech.samples, RATE) - 50, abs=0.2)


def test_faint_speech_is_a_hundredth_in_steps_of_16_bits(speech):
    steps = in_condition("gain", speech) * 32768
    np.testing.assert_array_equal(steps, np.rint(steps))
    assert np.abs(steps - speech.samples * 327.68).max() < 0.51


@pytest.mark.parametrize("name", ["8khz", "mulaw", "telephone"])
def test_a_line_leaves_nothing_above_4_khz_and_speech_below(name, speech):
    samples = in_condition(name, speech)
    assert band_level(samples, 4100, 8000) < band_level(speech.samples, 4100, 8000) - 40
    for low, high in ((800, 1000), (2400, 2600)):
        heard, before = (band_level(x, low, high) for x in (samples, speech.samples))
        assert heard == pytest.approx(before, abs=0.3)
    low = band_level(samples, 150, 250) - band_level(speech.samples, 150, 250)
    assert (low < -20) == (name == "telephone")


def test_noise_is_at_10_db_and_of_the_folder_that_is_given(speech, tmp_path):
    t = np.arange(RATE) / RATE
    write_wav(
        tmp_path / "hum.wav", Waveform((0.1 * np.sin(2 * np.pi * 440 * t)).astype("f4"), RATE)
    )
    for noise in (None, tmp_path):
        added = in_condition("noise", speech, noise=noise) - speech.samples
        assert level(speech.samples) - level(added) == pytest.approx(10, abs=0.2)
        hum = band_level(added, 430, 450) - band_level(added, 0, 8000)
        assert (hum > -1) == (noise is not None)


def test_audio_without_words_has_the_levels_it_says_and_is_always_the_same():
    found = list(no_words(RATE))
    assert {kind for kind, _ in found} == {
        "digital silence",
        *(f"noise at {db:g} dB" for db in LEVELS_DB),
    }
    for (kind, samples), (_, again) in zip(found, no_words(RATE), strict=True):
        np.testing.assert_array_equal(samples, again)
        assert len(samples) == 3 * RATE
        if kind == "digital silence":
            assert not samples.any()
        else:
            assert f"noise at {level(samples):.0f} dB" == kind


def test_unknown_conditions_are_told_with_what_there_is():
    assert chosen_conditions("all") == tuple(CONDITIONS)
    assert chosen_conditions("gain, silence,gain") == ("gain", "silence")
    for text in ("echo", "", "silence,", "all,gain"):
        with pytest.raises(ConfigError, match="names no condition") as caught:
            chosen_conditions(text)
        assert "telephone" in caught.value.remedy


def table_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_condition_has_a_row_and_results_of_its_own(evaluated, tmp_path):
    evaluated("--split", "dev")
    alone = (tmp_path / "dev.greedy.jsonl").read_bytes()
    told = evaluated("--split", "dev", "--conditions", "silence,gain")
    assert (tmp_path / "dev.greedy.jsonl").read_bytes() == alone  # as it is without conditions
    for words in ("as it is", "0.5 s of digital silence", "-40 dB, in 16 bits", "noise at -30 dB"):
        assert words in " ".join(told.split())
    clean, *costs = table_of(tmp_path / "dev.greedy.conditions.csv")
    assert (clean["condition"], float(clean["rise"])) == ("clean", 0.0)
    for cost in costs:
        facts = json.loads((tmp_path / f"dev.greedy.{cost['condition']}.json").read_text())
        assert facts["options"]["condition"] == cost["condition"]
        rate = facts["results"]["error_rate"]
        assert float(cost["error_rate"]) == pytest.approx(rate, abs=1e-6)
        rise = rate - float(clean["error_rate"])
        assert float(cost["rise"]) == pytest.approx(rise, abs=2e-6)
        assert float(cost["low"]) - 1e-6 <= rise <= float(cost["high"]) + 1e-6
    summary = [row["condition"] for row in table_of(tmp_path / "summary.csv")]
    assert summary == ["", "", "silence", "gain"]


def test_what_is_heard_without_words_is_counted_and_shown(evaluated, tmp_path):
    """The net was not trained: it hears letters in noise, and none in digital silence."""
    told = evaluated("--split", "dev", "--conditions", "gain")
    silence, *noises = table_of(tmp_path / "dev.greedy.no-words.csv")
    assert (silence["recordings"], silence["with_words"], silence["example"]) == ("1", "0", "")
    for noise in noises:
        assert noise["recordings"] == "10"
        assert (int(noise["with_words"]) > 0) == bool(noise["example"])
        assert set(noise["example"]) <= {"a", "b"}
    examples = [noise["example"] for noise in noises if noise["example"]]
    assert examples
    assert all(text[:6] in told for text in examples)  # long ones are folded


def test_conditions_that_cannot_be_made_are_told_before_the_work(evaluated, tmp_path):
    assert "'echo' names no condition" in evaluated("--conditions", "echo", code=2)
    empty = tmp_path / "empty"
    empty.mkdir()
    error = evaluated("--conditions", "noise", "--noise", empty, code=2)
    assert str(empty) in error
    error = evaluated("--conditions", "gain", "--output", tmp_path / "x.jsonl", code=2)
    assert "--output is one file" in error
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_reliability_is_drawn_where_it_is_asked_for(evaluated, tmp_path):
    picture = tmp_path / "reliability.png"
    evaluated("--split", "dev,train", "--reliability", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    error = evaluated("--reliability", tmp_path / "x.jpg", code=2)
    assert "pictures are PNG" in error
    assert not (tmp_path / "x.jpg").exists()


def test_the_picture_does_not_replace_what_is_read(evaluated, data, run, tmp_path):
    checkpoint = tmp_path / "model.png"
    checkpoint.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    before = checkpoint.read_bytes()
    evaluated("--checkpoint", checkpoint, "--reliability", checkpoint, code=2)
    assert checkpoint.read_bytes() == before
