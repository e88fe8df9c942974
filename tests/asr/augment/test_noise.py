"""Noise has the ratio that was asked for, and its own spectrum; what is no noise is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import read_audio, write_wav
from asr.augment import AddNoise, AddRecordedNoise, RecordedNoiseConfig
from asr.augment.recordings import span
from asr.types import AudioError, ConfigError, Waveform

RATE = 16_000


@pytest.fixture
def folder(tmp_path):
    """Two noises, one of them below, shorter than speech and at another rate; a text beside."""
    rng = np.random.default_rng(5)
    (tmp_path / "below").mkdir()
    write_wav(
        tmp_path / "long.wav", Waveform((0.1 * rng.standard_normal(3 * RATE)).astype("f4"), RATE)
    )
    hum = 0.3 * np.sin(2 * np.pi * 100 * np.arange(4000) / 8000)
    write_wav(tmp_path / "below" / "hum.wav", Waveform(hum.astype("f4"), 8000))
    (tmp_path / "LICENCES.md").write_text("free")
    return tmp_path


def ratio_db(samples, noisy):
    return 10 * np.log10(np.mean(samples**2) / np.mean((noisy - samples) ** 2))


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [-5.0, 20.0])
def test_computed_noise_has_the_asked_ratio(colour, snr_db):
    samples = np.sin(np.arange(100_000) / 10).astype("f4")
    noisy = AddNoise(snr_db, snr_db, 1.0, (colour,))(samples, np.random.default_rng(0))
    assert ratio_db(samples, noisy) == pytest.approx(snr_db, abs=0.01)


def test_recorded_noise_has_the_asked_ratio_whichever_file_is_drawn(folder):
    samples = np.sin(np.arange(2 * RATE) / 10).astype("f4")
    add = AddRecordedNoise(RecordedNoiseConfig(str(folder), 7.0, 7.0, 1.0), RATE)
    drawn = [add(samples, np.random.default_rng(seed)) for seed in range(8)]
    assert [ratio_db(samples, noisy) for noisy in drawn] == pytest.approx([7.0] * 8, abs=0.01)
    tones = [abs(np.fft.rfft(noisy - samples)).argmax() / 2 == 100 for noisy in drawn]
    assert len(set(tones)) == 2


def test_ratios_are_drawn_evenly_from_their_range():
    samples = np.sin(np.arange(4000) / 10).astype("f4")
    add = AddNoise(5.0, 15.0, 1.0)
    ratios = [ratio_db(samples, add(samples, np.random.default_rng(n))) for n in range(400)]
    assert min(ratios) >= 4.99
    assert max(ratios) <= 15.01
    assert np.histogram(ratios, 4, (5.0, 15.0))[0].min() > 70


def test_pink_noise_loses_three_decibels_an_octave():
    """Against the definition: equal power in each octave."""
    samples = np.ones(2**18, "f4")
    noise = AddNoise(0.0, 0.0, 1.0, ("pink",))(samples, np.random.default_rng(0)) - samples
    power = abs(np.fft.rfft(noise)) ** 2
    octaves = [power[2**n : 2 ** (n + 1)].sum() for n in range(8, 17)]
    assert max(octaves) / min(octaves) < 1.2


def test_only_the_asked_share_is_changed():
    samples = np.sin(np.arange(100) / 10).astype("f4")
    add = AddNoise(20.0, 20.0, 0.3)
    changed = [add(samples, np.random.default_rng(n)) is not samples for n in range(1000)]
    assert 250 < sum(changed) < 350


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.integers(0, 200), st.integers(0, 99))
def test_a_span_goes_on_where_the_recording_begins_again(length, size, seed):
    recording = np.arange(length, dtype="f4")
    found = span(recording, size, np.random.default_rng(seed))
    assert len(found) == size
    assert np.array_equal(np.diff(found) % length, np.ones(max(size - 1, 0)) % length)
    if size <= length:
        assert np.all(np.diff(found) == 1)  # not round the end where there is room


def test_silence_stays_silent(folder, tmp_path):
    samples = np.zeros(1000, "f4")
    add = AddRecordedNoise(RecordedNoiseConfig(str(folder), probability=1.0), RATE)
    assert not add(samples, np.random.default_rng(0)).any()
    assert not AddNoise(probability=1.0)(samples, np.random.default_rng(0)).any()
    write_wav(tmp_path / "zeros.wav", Waveform(samples, RATE))
    silent = AddRecordedNoise(RecordedNoiseConfig(f"{tmp_path}/zeros.wav", probability=1.0), RATE)
    speech = np.ones(10, "f4")
    assert np.array_equal(silent(speech, np.random.default_rng(0)), speech)


def test_what_is_beyond_the_memory_is_read_when_it_is_drawn(folder, monkeypatch):
    kept = AddRecordedNoise(RecordedNoiseConfig(str(folder), probability=1.0), RATE)
    monkeypatch.setattr("asr.augment.recordings.KEPT_SECONDS", 1.0)
    reading = AddRecordedNoise(RecordedNoiseConfig(str(folder), probability=1.0), RATE)
    reads = []
    monkeypatch.setattr(
        "asr.augment.recordings.read_audio",
        lambda path, **how: reads.append(path) or read_audio(path, **how),
    )
    speech = np.sin(np.arange(RATE) / 10).astype("f4")
    for seed in range(6):
        with_memory, without = (add(speech, np.random.default_rng(seed)) for add in (kept, reading))
        assert np.array_equal(with_memory, without)
    assert set(reads) == {str(folder / "long.wav")}  # the shorter one came first and is kept


def test_a_folder_without_audio_is_refused(tmp_path):
    (tmp_path / "readme.txt").write_text("no noise")
    with pytest.raises(AudioError, match=f"{tmp_path}: no audio files"):
        AddRecordedNoise(RecordedNoiseConfig(str(tmp_path)), RATE)
    with pytest.raises(AudioError, match=f"{tmp_path}/away: .*No such file"):
        AddRecordedNoise(RecordedNoiseConfig(f"{tmp_path}/away"), RATE)


def test_a_broken_recording_is_named(folder):
    (folder / "middle.wav").write_bytes(b"RIFF rubbish")
    with pytest.raises(AudioError, match=r"middle\.wav"):
        AddRecordedNoise(RecordedNoiseConfig(str(folder)), RATE)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: AddNoise(20.0, 10.0), "min_snr_db"),
        (lambda: AddNoise(float("nan"), 10.0), "min_snr_db"),
        (lambda: AddNoise(probability=2.0), "probability"),
        (lambda: AddNoise(colours=()), "colours"),
        (lambda: AddNoise(colours=("mauve",)), "mauve"),
        (lambda: RecordedNoiseConfig(), "no folder"),
        (lambda: RecordedNoiseConfig("x", probability=-0.1), "noise: probability"),
        (lambda: RecordedNoiseConfig("x", 10.0, 0.0), "noise: min_snr_db"),
    ],
)
def test_impossible_options_are_refused(make, named):
    with pytest.raises(ConfigError, match=named):
        make()
