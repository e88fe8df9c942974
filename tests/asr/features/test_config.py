"""Options of the front end that cannot be are refused before anything is allocated for them."""

import pytest

from asr.features import FeatureConfig
from asr.types import ConfigError


@pytest.mark.parametrize(
    "options",
    [
        {"sample_rate": 10**8},
        {"num_mels": 10**9},
        {"num_mels": 0},
        {"stack": 10**400},
        {"subsample": 10**400},
        {"energy": 2**31},
        {"silence_db": True, "energy": True},
        {"silence_db": 10**400, "energy": True},
        {"range_db": 10**400},
        {"range_db": float("nan")},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_cannot_be_is_refused_in_a_line(options):
    with pytest.raises(ConfigError, match=next(iter(options))) as caught:
        FeatureConfig(**options)
    assert len(str(caught.value)) < 250
