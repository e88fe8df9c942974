"""Speech played faster or slower."""

import numpy as np
import pytest

from asr.augment import SpeedPerturbation
from asr.types import ConfigError


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_changes_length_and_pitch(factor):
    rate, hertz = 16_000, 500.0
    samples = np.sin(2 * np.pi * hertz * np.arange(rate) / rate).astype("f4")
    faster = SpeedPerturbation((factor,))(samples, np.random.default_rng(0))
    assert len(faster) == pytest.approx(rate / factor, abs=2)
    spectrum = np.abs(np.fft.rfft(faster * np.hanning(len(faster))))
    assert spectrum.argmax() * rate / len(faster) == pytest.approx(hertz * factor, abs=2)


def test_speeds_are_drawn_evenly_and_repeatably():
    samples = np.zeros(1000, "f4")
    draw = SpeedPerturbation((0.9, 1.0, 1.1))

    def lengths(seed):
        rng = np.random.default_rng(seed)
        return [len(draw(samples, rng)) for _ in range(300)]

    assert lengths(1) == lengths(1)
    counts = np.unique(lengths(1), return_counts=True)[1]
    assert len(counts) == 3
    assert counts.min() > 70


@pytest.mark.parametrize("factors", [(), (0.0,), (1.0, 2.5)])
def test_impossible_speeds_are_refused(factors):
    with pytest.raises(ConfigError, match="speed factors"):
        SpeedPerturbation(factors)
