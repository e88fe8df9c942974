"""Factors of vocal tract length: their range and share."""

import numpy as np
import pytest

from asr.augment import VocalTractConfig
from asr.types import ConfigError


def test_factors_lie_in_their_range_for_the_asked_share():
    config = VocalTractConfig(0.8, 1.2, 0.5)
    factors = np.array([config.draw(np.random.default_rng(n)) for n in range(1000)])
    assert 0.45 < np.mean(factors == 1.0) < 0.55
    assert np.histogram(factors[factors != 1.0], 4, (0.8, 1.2))[0].min() > 90


@pytest.mark.parametrize(
    "wrong", [{"min_factor": 0.1}, {"min_factor": 1.2}, {"max_factor": 3.0}, {"probability": 2.0}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"vocal_tract: .*{next(iter(wrong))}"):
        VocalTractConfig(**wrong)
