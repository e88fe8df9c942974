"""Mel filters warped as Kaldi does it: in training, for vocal tracts of other lengths."""

import numpy as np
import pytest
import torch

from asr.features import FeatureConfig, FeatureExtractor
from asr.features._torchaudio import torchaudio
from asr.features.warp import warped_filters
from asr.types import ConfigError

RATE = 16_000


def tones(*hertz):
    t = np.arange(RATE) / RATE
    return torch.tensor(
        np.stack([0.3 * np.sin(2 * np.pi * f * t) for f in hertz]), dtype=torch.float32
    )


def peaks(waveforms, factor, **options):
    """The loudest filter of each waveform."""
    extractor = FeatureExtractor(FeatureConfig(normalisation="none", **options))
    lengths = torch.full((len(waveforms),), waveforms.shape[1])
    warps = torch.full((len(waveforms),), factor)
    frames, _ = extractor.frames(waveforms, lengths, warps=warps)
    return frames[:, 20].argmax(dim=1)


@pytest.mark.parametrize("style", ["default", "kaldi"])
def test_factor_one_is_no_warp(style):
    extractor = FeatureExtractor(FeatureConfig(style=style, energy=True))
    waveforms = torch.randn(3, 8000, generator=torch.Generator().manual_seed(0)) * 0.1
    lengths = torch.tensor([8000, 5000, 700])
    plain, _ = extractor.frames(waveforms, lengths)
    warped, _ = extractor.frames(waveforms, lengths, warps=torch.ones(3))
    assert torch.allclose(plain, warped, atol=1e-4)


def test_the_filters_are_torchaudios_but_for_their_places():
    config = FeatureConfig(num_mels=23, low_hz=60.0, high_hz=7000.0)
    expected = torchaudio.functional.melscale_fbanks(257, 60.0, 7000.0, 23, RATE)
    assert torch.allclose(warped_filters(config, torch.ones(1))[0], expected, atol=1e-4)


@pytest.mark.parametrize("style", ["default", "kaldi"])
@pytest.mark.parametrize("factor", [0.85, 1.15])
def test_a_tone_appears_where_one_of_another_pitch_would(style, factor):
    """Between the bends, warping by a factor is as if all frequencies were that much higher."""
    hertz = np.array([500.0, 1000.0, 2000.0, 3000.0])
    warped = peaks(tones(*hertz), factor, style=style)
    assert torch.equal(warped, peaks(tones(*(hertz * factor)), 1.0, style=style))
    assert not torch.equal(warped, peaks(tones(*hertz), 1.0, style=style))


@pytest.mark.parametrize("factor", [0.8, 0.93, 1.1, 1.2])
def test_both_styles_warp_alike(factor):
    """Kaldi's own function against ours, which share neither window nor scale."""
    waveforms = tones(*np.linspace(150, 7600, 30))
    ours, kaldis = (peaks(waveforms, factor, style=style) for style in ("default", "kaldi"))
    assert (ours - kaldis).abs().max() <= 1
    assert (ours == kaldis).float().mean() > 0.8


def test_each_utterance_has_a_factor_of_its_own():
    extractor = FeatureExtractor(FeatureConfig(deltas=1))
    waveforms = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0)) * 0.1
    lengths = torch.tensor([8000, 6000])
    both, _ = extractor.frames(waveforms, lengths, warps=torch.tensor([0.9, 1.1]))
    for row, factor in enumerate((0.9, 1.1)):
        size = int(lengths[row])
        alone, count = extractor.frames(
            waveforms[row : row + 1, :size], lengths[row : row + 1], warps=torch.tensor([factor])
        )
        assert torch.allclose(both[row, : count[0]], alone[0], atol=1e-5)


def test_librosa_has_none():
    extractor = FeatureExtractor(FeatureConfig(backend="librosa"))
    with pytest.raises(ConfigError, match="vocal_tract: the librosa backend"):
        extractor.frames(torch.zeros(1, 8000), torch.tensor([8000]), warps=torch.ones(1))
