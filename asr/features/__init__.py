"""Waveforms to features: ``(B, N)`` to ``(B, T, F)``, the same in training and use."""

from asr.features.config import FeatureConfig
from asr.features.extractor import FeatureExtractor, RunningStatistics

__all__ = ["FeatureConfig", "FeatureExtractor", "RunningStatistics"]
