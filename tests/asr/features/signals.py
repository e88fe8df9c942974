"""Signals for tests of features, and features of one signal."""

import numpy as np
import torch

from asr.features import FeatureConfig, FeatureExtractor


def synthetic_speech(seconds=1.0, rate=16_000):
    """A gliding, pulsing harmonic tone with a little noise: voiced speech, roughly."""
    rng = np.random.default_rng(0)
    t = np.arange(int(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 1.5 * t)) / rate
    tone = sum(np.sin(k * pitch) / k for k in range(1, 20))
    envelope = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * t)
    samples = 0.1 * envelope * tone + 0.002 * rng.standard_normal(len(t))
    return torch.from_numpy(samples.astype(np.float32))


def extract(samples, **options):
    extractor = FeatureExtractor(FeatureConfig(**options))
    features, lengths = extractor(samples.unsqueeze(0), torch.tensor([len(samples)]))
    assert lengths.tolist() == [features.shape[1]]
    return features[0]


def faded(samples):
    """``samples`` that come and go over a tenth of a second, as words do."""
    ramp = torch.linspace(0, 1, 1600) ** 2
    return torch.cat([samples[:1600] * ramp, samples[1600:-1600], samples[-1600:] * ramp.flip(0)])
