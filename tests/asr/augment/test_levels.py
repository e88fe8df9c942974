"""Gain, clipping, and the limit that the level never passes."""

import numpy as np
import pytest

from asr.augment import Chain, Clip, Gain
from asr.types import ConfigError

SAMPLES = (0.5 * np.sin(np.arange(20_000) / 7)).astype("f4")


@pytest.mark.parametrize("db", [-40.0, 5.0])
def test_gain_changes_the_level_by_the_asked_decibels(db):
    louder = Gain(db, db, 1.0, bits=0)(SAMPLES, np.random.default_rng(0))
    assert 10 * np.log10(np.mean(louder**2) / np.mean(SAMPLES**2)) == pytest.approx(db, abs=1e-4)
    assert louder.dtype == np.float32


@pytest.mark.parametrize("bits", [8, 16])
def test_faint_speech_keeps_the_steps_of_a_recording(bits):
    faint = Gain(-40.0, -40.0, 1.0, bits)(SAMPLES, np.random.default_rng(0))
    steps = faint.astype("f8") * 2 ** (bits - 1)
    assert np.array_equal(steps, np.rint(steps))
    assert np.abs(faint - SAMPLES * 0.01).max() <= 0.5001 / 2 ** (bits - 1)
    assert np.abs(steps).max() == round(0.5 * 0.01 * 2 ** (bits - 1))


def test_clipping_cuts_at_the_asked_distance_below_the_peak_and_nothing_else():
    clipped = Clip(6.0, 6.0, 1.0)(SAMPLES, np.random.default_rng(0))
    top = np.abs(SAMPLES).max() * 10 ** (-6 / 20)
    assert np.abs(clipped).max() == pytest.approx(top)
    inside = np.abs(SAMPLES) < top
    assert np.array_equal(clipped[inside], SAMPLES[inside])
    assert 0.6 < 1 - inside.mean() < 0.7  # a sine is above half its peak in two thirds of its time


def test_what_passes_full_scale_is_made_fainter_as_a_whole():
    loud = Chain({"gain": Gain(20.0, 20.0, 1.0)})(SAMPLES, [0])
    assert np.abs(loud).max() == 1.0
    assert np.allclose(loud / loud[100], SAMPLES / SAMPLES[100], atol=1e-4)


def test_nothing_stays_nothing():
    empty = np.zeros(0, "f4")
    for change in (Gain(probability=1.0), Clip(probability=1.0)):
        assert len(change(empty, np.random.default_rng(0))) == 0
    assert len(Chain({"gain": Gain(probability=1.0)})(empty, [0])) == 0


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Gain(3.0, -3.0), "gain: min_db"),
        (lambda: Gain(probability=-1.0), "gain: probability"),
        (lambda: Gain(bits=1), "gain: bits"),
        (lambda: Gain(bits=32), "gain: bits"),
        (lambda: Clip(-1.0, 3.0), "clipping: min_db"),
        (lambda: Clip(probability=2.0), "clipping: probability"),
    ],
)
def test_impossible_options_are_refused(make, named):
    with pytest.raises(ConfigError, match=named):
        make()
