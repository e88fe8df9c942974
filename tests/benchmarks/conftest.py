"""A small model with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asr.bundle import Bundle, save_bundle
from asr.decoding import GreedyOptions
from asr.features import FeatureConfig, FeatureExtractor
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from asr.tokens import Tokenizer

TOKENS = ["<blank>", "<space>", "a", "b", "c", "d", "e"]


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    extractor = FeatureExtractor(FeatureConfig(num_mels=13, stack=2, subsample=2))
    model = AcousticModel(
        AcousticModelConfig(extractor.config.size, len(TOKENS), NetworkConfig(16, 1))
    )
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    save_bundle(Bundle(extractor, model, Tokenizer(TOKENS), GreedyOptions(), "tiny"), path)
    return path
