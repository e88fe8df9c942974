"""Augmentation stays within its bounds and within its utterance."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.augment import AddNoise, SpecAugment, SpecAugmentConfig, SpeedPerturbation
from asr.types import ConfigError


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    width=st.integers(0, 30),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 99),
)
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


def test_noise_has_the_asked_ratio():
    samples = np.sin(np.arange(100_000) / 10).astype("f4")
    noisy = AddNoise(20.0, 20.0, 1.0)(samples, np.random.default_rng(0))
    ratio = np.mean(samples**2) / np.mean((noisy - samples) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(20.0, abs=0.1)
    assert AddNoise(20.0, 20.0, 0.0)(samples, np.random.default_rng(0)) is samples


@pytest.mark.parametrize(
    "make",
    [
        lambda: SpecAugmentConfig(freq_masks=-1),
        lambda: SpecAugmentConfig(max_time_fraction=1.5),
        lambda: SpeedPerturbation(()),
        lambda: SpeedPerturbation((0.0,)),
        lambda: AddNoise(20.0, 10.0),
        lambda: AddNoise(probability=2.0),
    ],
)
def test_impossible_options_are_refused(make):
    with pytest.raises(ConfigError):
        make()
