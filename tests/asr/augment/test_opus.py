"""Opus codes at the asked rate and keeps the time."""

import numpy as np
import pytest

from asr.augment import Opus, OpusConfig
from asr.types import ConfigError


def chirp(rate):
    t = np.arange(rate) / rate
    return (0.3 * np.sin(2 * np.pi * (300 + 600 * t) * t)).astype("f4")


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100])
def test_nothing_is_shifted_in_time_at_any_sample_rate(rate):
    before = chirp(rate)
    after = Opus(OpusConfig(24.0, 24.0, 1.0), rate)(before, np.random.default_rng(0))
    assert after.shape == before.shape
    lag = np.correlate(after, before, "full").argmax() - (len(before) - 1)
    assert abs(lag) <= 1
    assert np.corrcoef(after, before)[0, 1] > 0.95


def test_a_higher_rate_leaves_more():
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal(32_000)).astype("f4")

    def error(kbps):
        heard = Opus(OpusConfig(kbps, kbps, 1.0), 16_000)(noise, np.random.default_rng(0))
        return np.mean((heard - noise) ** 2)

    assert error(96.0) < 0.1 * error(8.0)


@pytest.mark.parametrize("size", [0, 1, 100])
def test_what_is_short_keeps_its_length(size):
    samples = np.ones(size, "f4") / 2
    heard = Opus(OpusConfig(probability=1.0), 16_000)(samples, np.random.default_rng(0))
    assert heard.shape == (size,)


@pytest.mark.parametrize(
    "wrong", [{"min_kbps": 1.0}, {"max_kbps": 500.0}, {"min_kbps": 32.0}, {"probability": 1.1}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"opus: .*{next(iter(wrong))}"):
        OpusConfig(**wrong)
