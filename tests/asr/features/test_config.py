"""Options of the front end that cannot be are refused before anything is allocated for them."""

import pytest
import torch

from asr.features import FeatureConfig, FeatureExtractor
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
        {"stack": True},
        {"num_mels": True},
        {"deltas": True},
        {"deltas": 1.0},
        {"low_hz": "20"},
        {"preemphasis": None},
        {"frame_length_ms": True},
        {"silence_db": "30", "energy": True},
        {"num_mels": 3, "style": "kaldi"},
        {"frame_length_ms": 1 / 16, "frame_shift_ms": 1 / 16, "style": "kaldi"},
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


@pytest.mark.parametrize(
    "options",
    [
        {"num_mels": 4},
        {"frame_length_ms": 1 / 8, "frame_shift_ms": 1 / 16},
        {"kind": "mfcc", "num_mels": 4, "num_ceps": 3},
    ],
)
def test_the_least_that_is_taken_of_kaldis_style_is_computed(options):
    config = FeatureConfig(style="kaldi", **options)
    features, _ = FeatureExtractor(config)(torch.randn(1, 1600), torch.tensor([1600]))
    assert features.shape[2] == config.size
    assert features.isfinite().all()
