"""Babble has the asked ratio and number of voices."""

import numpy as np
import pytest

from asr.augment import AddBabble, BabbleConfig
from asr.types import ConfigError

RATE = 16_000
HERTZ = (200, 410, 630, 850, 1070)


def tone(rng):
    """A voice of its own pitch and loudness."""
    hertz = HERTZ[int(rng.integers(len(HERTZ)))]
    loudness = rng.uniform(0.01, 0.5)
    return (loudness * np.sin(2 * np.pi * hertz * np.arange(RATE // 5) / RATE)).astype("f4")


def test_voices_have_together_the_asked_ratio():
    samples = np.random.default_rng(0).standard_normal(RATE).astype("f4")
    babble = AddBabble(BabbleConfig(3, 5, 12.0, 12.0, 1.0), tone)
    for seed in range(5):
        noisy = babble(samples, np.random.default_rng(seed))
        ratio = 10 * np.log10(np.mean(samples**2) / np.mean((noisy - samples) ** 2))
        assert ratio == pytest.approx(12.0, abs=0.01)


def test_as_many_voices_as_asked_are_drawn_each_as_loud_as_the_others():
    drawn = []

    def draw(rng):
        drawn.append(len(drawn))
        loudness = 0.1 * (len(drawn) % 2) + 0.01
        return (loudness * np.sin(HERTZ[len(drawn) % 5] * np.arange(RATE) / 2500)).astype("f4")

    babble = AddBabble(BabbleConfig(5, 5, 0.0, 0.0, 1.0), draw)
    heard = babble(np.zeros(RATE, "f4") + 1, np.random.default_rng(0)) - 1
    assert len(drawn) == 5
    power = np.abs(np.fft.rfft(heard * np.hanning(RATE))) ** 2
    tones = [round(hertz / 2500 * RATE / (2 * np.pi)) for hertz in HERTZ]
    levels = [power[bin_ - 3 : bin_ + 4].sum() for bin_ in tones]
    assert max(levels) / min(levels) < 1.1
    assert sum(levels) / power.sum() > 0.99
    counts = set()
    for seed in range(60):
        drawn.clear()
        AddBabble(BabbleConfig(2, 4, probability=1.0), draw)(heard, np.random.default_rng(seed))
        counts.add(len(drawn))
    assert counts == {2, 3, 4}


def test_silent_voices_do_no_harm():
    samples = np.ones(100, "f4")
    babble = AddBabble(BabbleConfig(probability=1.0), lambda rng: np.zeros(10, "f4"))
    assert np.array_equal(babble(samples, np.random.default_rng(0)), samples)


@pytest.mark.parametrize(
    "wrong", [{"min_voices": 0}, {"min_voices": 9}, {"min_snr_db": 90.0}, {"probability": 2.0}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"babble: .*{next(iter(wrong))}"):
        BabbleConfig(**wrong)
