"""A small model with random weights, large enough to say many different things."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.bundle import Bundle, save_bundle
from asr.decoding import read_options
from asr.features import FeatureConfig, FeatureExtractor
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from asr.recognizer import Recognizer
from asr.tokens import Tokenizer
from asr.types import Waveform

TOKENS = ["<blank>", "<space>", "a", "b", "c", "d", "e"]


def make_bundle(seed: int = 0, **decoder: object) -> Bundle:
    torch.manual_seed(seed)
    extractor = FeatureExtractor(
        FeatureConfig(kind="fbank", num_mels=13, stack=2, subsample=2, normalisation="utterance")
    )
    model = AcousticModel(
        AcousticModelConfig(extractor.config.size, len(TOKENS), NetworkConfig(16, 1))
    )
    with torch.no_grad():
        model.recurrent.requires_grad_(False)
        for weight in model.recurrent.parameters():
            weight.mul_(2.0)  # else a random model says one token for ever
        model.output.weight.mul_(12.0)
    return Bundle(
        extractor=extractor.eval(),
        model=model.eval(),
        tokenizer=Tokenizer(TOKENS, "characters"),
        decoder=read_options({"name": "greedy", **decoder}),
        name="tiny",
        metadata={"corpus": "none", "rates": [0.5, 1.0]},
    )


def make_waveform(seed: int, seconds: float, sample_rate: int = 16000) -> Waveform:
    """Noise whose colour and loudness change every tenth of a second, as speech does."""
    rng = np.random.default_rng(seed)
    count = int(seconds * sample_rate)
    time = np.arange(count) / sample_rate
    piece = (time * 10).astype(int)
    pitch = rng.uniform(100, 0.4 * sample_rate, size=piece[-1] + 1 if count else 1)
    loudness = rng.uniform(0.02, 0.4, size=len(pitch))
    tone = np.sin(2 * np.pi * pitch[piece] * time) * loudness[piece]
    noise = 0.01 * rng.standard_normal(count)
    return Waveform((tone + noise).astype(np.float32), sample_rate)


@pytest.fixture(scope="session")
def waveform_of() -> Callable[..., Waveform]:
    return make_waveform


@pytest.fixture(scope="session")
def bundle_of() -> Callable[..., Bundle]:
    return make_bundle


@pytest.fixture(scope="session")
def tiny_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    save_bundle(make_bundle(), path)
    return path


@pytest.fixture(scope="session")
def tiny_recognizer(tiny_bundle_path: Path) -> Recognizer:
    return Recognizer.load(tiny_bundle_path)
