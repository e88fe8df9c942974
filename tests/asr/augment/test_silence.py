"""Silence lengthens an utterance and leaves its samples as they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.augment import InsertSilence, SilenceConfig
from asr.augment.silence import pauses
from asr.types import ConfigError

RATE = 16_000


def words(count=3, pause=0.3, floor=0.0):
    """Tones of 0.4 s with pauses between them, over a noise ``floor``."""
    rng = np.random.default_rng(1)
    tone = np.sin(2 * np.pi * 300 * (np.arange(int(0.4 * RATE)) + 0.5) / RATE)
    gap = np.zeros(int(pause * RATE))
    pieces = [piece for _ in range(count) for piece in (tone, gap)][:-1]
    samples = np.concatenate(pieces) * 0.5
    return (samples + floor * rng.standard_normal(len(samples))).astype("f4")


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 999),
    st.floats(0, 2),
    st.floats(0, 2),
    st.floats(0, 1),
    st.integers(0, 4),
)
def test_the_samples_of_speech_are_untouched(seed, before, after, between, most):
    """What is left without the silence, which is digital here, is the utterance itself."""
    config = SilenceConfig(before, after, between, most, probability=1.0, digital=1.0)
    samples = words()
    longer = InsertSilence(config, RATE)(samples, np.random.default_rng(seed))
    assert np.array_equal(longer[longer != 0], samples[samples != 0])
    assert 0 <= len(longer) - len(samples) <= config.max_seconds * RATE


def test_silence_comes_before_after_and_in_each_pause():
    config = SilenceConfig(0.5, 0.5, 0.5, 2, probability=1.0, digital=1.0)
    before, between, after = [], [], []
    for seed in range(300):
        longer = InsertSilence(config, RATE)(words(), np.random.default_rng(seed))
        spoken = np.flatnonzero(longer)
        gaps = np.diff(spoken)
        before.append(spoken[0] / RATE)
        after.append((len(longer) - 1 - spoken[-1]) / RATE)
        between += list((gaps[gaps > 1] - 1) / RATE - 0.3)
    for found in (before, after):
        assert np.histogram(found, 4, (0.0, 0.5))[0].min() > 50
    assert len(between) == 600  # two pauses each
    assert max(between) <= 0.5
    longer = np.array(between) > 0.01
    assert 0.4 < longer.mean() < 0.6  # 0, 1 or 2 of the pauses


def test_noise_in_the_silence_has_a_level_within_the_range():
    """Relative to the speech, whose loudest part is a sine of amplitude 0.5."""
    config = SilenceConfig(1.0, 0.0, 0.0, 0, probability=1.0, digital=0.0)
    speech = 10 * np.log10(0.5**2 / 2)
    levels = []
    for seed in range(200):
        longer = InsertSilence(config, RATE)(words(), np.random.default_rng(seed))
        silence = longer[: len(longer) - len(words())]
        if len(silence) > 1000:
            levels.append(10 * np.log10(np.mean(np.square(silence))) - speech)
    assert min(levels) >= -80.5
    assert max(levels) <= -39.5
    assert min(levels) < -75
    assert max(levels) > -45


def test_pauses_lie_between_words_and_are_longer_than_a_stop():
    samples = words(pause=0.3)
    tone, gap = int(0.4 * RATE), int(0.3 * RATE)
    middle = [tone + gap // 2, 2 * tone + gap + gap // 2]
    assert pauses(samples, RATE) == pytest.approx(middle, abs=0.01 * RATE)
    assert pauses(words(pause=0.08), RATE) == []  # as long as the closure of a stop
    assert (
        pauses(np.concatenate([np.zeros(RATE, "f4"), words(1), np.zeros(RATE, "f4")]), RATE) == []
    )


def test_a_pause_is_found_above_a_noise_floor_and_not_in_loud_noise():
    assert len(pauses(words(floor=0.001), RATE)) == 2
    assert pauses(words(floor=0.1), RATE) == []
    assert pauses(np.zeros(RATE, "f4"), RATE) == []
    assert pauses(np.zeros(3, "f4"), RATE) == []


def test_only_the_asked_share_is_changed():
    insert = InsertSilence(SilenceConfig(probability=0.3), RATE)
    samples = words(1)
    changed = [insert(samples, np.random.default_rng(n)) is not samples for n in range(500)]
    assert 110 < sum(changed) < 190
    assert SilenceConfig(probability=0.0).max_seconds == 0.0


def test_digital_silence_and_nothing_at_all_get_silence():
    insert = InsertSilence(SilenceConfig(probability=1.0), RATE)
    assert not insert(np.zeros(100, "f4"), np.random.default_rng(0)).any()
    assert len(insert(np.zeros(0, "f4"), np.random.default_rng(0))) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_before": -1.0},
        {"max_after": float("nan")},
        {"max_between": float("inf")},
        {"max_pauses": -1},
        {"probability": 1.5},
        {"digital": -0.5},
        {"min_level_db": 0.0},
    ],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"silence: .*{next(iter(wrong))}"):
        SilenceConfig(**wrong)
