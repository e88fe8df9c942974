"""A telephone line keeps its band, its time, and G.711's steps."""

import numpy as np
import pytest

from asr.audio import recode
from asr.augment import Telephone, TelephoneConfig
from asr.types import ConfigError, Waveform

RATE = 16_000


def noise(seconds=2, rate=RATE):
    return (0.1 * np.random.default_rng(0).standard_normal(int(seconds * rate))).astype("f4")


def passed(rate, whole_band):
    """How many decibels of noise a line at ``rate`` lets through, between two frequencies."""
    config = TelephoneConfig(codings=("none",), probability=1.0, whole_band=whole_band)
    before = noise(rate=rate)
    after = Telephone(config, rate)(before, np.random.default_rng(0))
    assert after.shape == before.shape
    hertz = np.fft.rfftfreq(len(before), 1 / rate)
    power = [np.abs(np.fft.rfft(samples)) ** 2 for samples in (before, after)]

    def gain_db(low, high):
        band = (hertz >= low) & (hertz < high)
        return 10 * np.log10(power[1][band].sum() / power[0][band].sum())

    return gain_db


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_only_the_band_is_left(rate):
    gain_db = passed(rate, whole_band=0.0)
    assert gain_db(300, 3300) == pytest.approx(0.0, abs=0.1)
    assert gain_db(0, 190) < -35
    assert gain_db(3550, rate / 2) < -35


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_line_of_the_whole_band_keeps_what_8_khz_hold(rate):
    gain_db = passed(rate, whole_band=1.0)
    assert gain_db(0, 3600) == pytest.approx(0.0, abs=0.1)
    assert gain_db(4200, rate / 2) < -35


@pytest.mark.parametrize("coding", ["none", "mulaw", "alaw", "gsm"])
@pytest.mark.parametrize("size", [1, 159, 16_001])
def test_nothing_is_shifted_in_time(coding, size):
    line = Telephone(TelephoneConfig(codings=(coding,), probability=1.0), RATE)
    t = np.arange(16_001) / RATE
    chirp = (0.3 * np.sin(2 * np.pi * (400 + 900 * t) * t)).astype("f4")[:size]
    heard = line(chirp, np.random.default_rng(0))
    assert heard.shape == chirp.shape
    if size > 10_000:
        lag = np.correlate(heard, chirp, "full").argmax() - (size - 1)
        assert abs(lag) <= 1


def test_mulaw_is_that_of_the_standard():
    """G.711: 8 segments of 16 steps on 14 bits, each segment's steps twice those before."""
    steps = [(segment, n) for segment in range(8) for n in range(16)]
    edges = np.array([((2 * n + 32) << segment) - 33 for segment, n in steps])
    values = np.array([((2 * n + 33) << segment) - 33 for segment, n in steps])
    x = np.linspace(0.0, 0.97, 20_001, dtype="f4") * 8192
    coded = recode(Waveform(x / 8192, 8000), "mulaw").samples * 8192
    expected = values[np.searchsorted(edges, x, "right") - 1]
    clear = np.abs(x[:, None] - edges).min(1) > 2  # samples were cut to 14 bits before
    assert np.array_equal(coded[clear], expected[clear])
    assert set(coded) <= set(values)
    assert clear.mean() > 0.9


@pytest.mark.parametrize("coding", ["mulaw", "alaw", "gsm"])
def test_what_is_too_loud_is_clipped_and_never_wraps_to_the_other_sign(coding):
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000).astype("f4")
    loud, full = (recode(Waveform(peak * tone, 8000), coding).samples for peak in (1.6, 1.0))
    clipped = np.clip(1.6 * tone, -1, 1)
    assert (loud * clipped)[np.abs(clipped) == 1].min() > 0
    assert np.abs(loud - clipped).mean() < 2 * np.abs(full - tone).mean() + 0.01


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_sample_or_two_pass(rate, size):
    line = Telephone(TelephoneConfig(probability=1.0), rate)
    assert line(np.ones(size, np.float32), np.random.default_rng(0)).shape == (size,)


def test_each_coding_is_drawn():
    line = Telephone(TelephoneConfig(probability=1.0, whole_band=0.0), RATE)
    results = {line(noise(0.1), np.random.default_rng(n)).tobytes() for n in range(40)}
    assert len(results) == 3


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"probability": 2.0}, "probability"),
        ({"whole_band": -0.1}, "whole_band"),
        ({"low_hz": -1.0}, "low_hz"),
        ({"low_hz": 3500.0}, "low_hz"),
        ({"high_hz": 4000.0}, "high_hz"),
        ({"codings": ()}, "codings"),
        ({"codings": ("mp3",)}, "mp3"),
    ],
)
def test_impossible_options_are_refused(wrong, named):
    with pytest.raises(ConfigError, match=f"telephone: .*{named}"):
        TelephoneConfig(**wrong)
