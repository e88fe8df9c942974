"""Masks stay within their bounds and within their utterance."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asr.augment import SpecAugment, SpecAugmentConfig
from asr.types import ConfigError


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    width=st.integers(0, 30),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@example(lengths=[1, 1], width=1, fraction=0.9999999999999999, seed=0)  # 1 in float32
@settings(max_examples=60, deadline=None)
def test_a_time_mask_is_one_span_within_bounds_and_utterance(lengths, width, fraction, seed):
    torch.manual_seed(seed)
    config = SpecAugmentConfig(0, 0, 1, width, fraction)
    sizes = torch.tensor(lengths)
    frames = torch.ones(len(lengths), max(lengths), 7)
    masked = SpecAugment(config)(frames, sizes) == 0
    assert torch.equal(masked.any(2), masked.all(2))
    for row, length in zip(masked.any(2), lengths, strict=True):
        where = row.nonzero().flatten()
        assert len(where) <= min(width, int(length * fraction))
        if len(where):
            assert where[-1] - where[0] + 1 == len(where)
            assert where[-1] < length


def test_a_frequency_mask_is_one_band_over_the_whole_utterance():
    torch.manual_seed(0)
    frames = torch.ones(200, 5, 40)
    masked = SpecAugment(SpecAugmentConfig(1, 8, 0, 0))(frames, torch.full((200,), 5)) == 0
    assert torch.equal(masked.any(1), masked.all(1))
    widths = masked.any(1).sum(1)
    assert set(widths.tolist()) == set(range(9))


def test_utterances_draw_masks_of_their_own():
    torch.manual_seed(0)
    masked = SpecAugment(SpecAugmentConfig())(torch.ones(2, 50, 40), torch.tensor([50, 50]))
    assert not torch.equal(masked[0], masked[1])


def test_evaluation_changes_nothing():
    frames = torch.randn(2, 50, 40)
    assert SpecAugment(SpecAugmentConfig()).eval()(frames, torch.tensor([50, 50])) is frames


@pytest.mark.parametrize("wrong", [{"freq_masks": -1}, {"max_time_fraction": 1.5}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SpecAugmentConfig(**wrong)
