"""A small model with random weights; utterances, and a peer that says one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asr.audio import write_wav
from asr.bundle import Bundle, save_bundle
from asr.decoding import GreedyOptions
from asr.features import FeatureConfig, FeatureExtractor
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from asr.tokens import Tokenizer
from asr.types import Waveform
from recipes.common.manifests import Utterance, write_manifest

PEER = """
class Hypothesis:
    hypstr = "mr smith's two dogs"

class Decoder:
    def __init__(self, **options): pass
    def start_utt(self): pass
    def process_raw(self, data, full_utt): assert len(data) % 2 == 0 and full_utt
    def end_utt(self): pass
    def hyp(self): return Hypothesis()

def get_model_path(): return MODEL
"""

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


@pytest.fixture
def manifest(tmp_path):
    """Two utterances of as many speakers; the peer has the second wrong."""
    utterances = []
    for name, text in (("a", "MISTER SMITH'S TWO DOGS"), ("b", "MISTER SMITH'S TWO CATS")):
        path = tmp_path / f"{name}.wav"
        write_wav(path, Waveform(np.zeros(8_000, "f4"), 8_000))
        utterances.append(Utterance(name, path, text, f"speaker-{name}"))
    write_manifest(tmp_path / "dev.jsonl.gz", utterances)
    return tmp_path / "dev.jsonl.gz"


@pytest.fixture
def peer(tmp_path, monkeypatch):
    """The peer's package, with a model of 3000 bytes."""
    model = tmp_path / "model" / "en-us"
    model.mkdir(parents=True)
    (model / "weights").write_bytes(b"x" * 3000)
    package = tmp_path / "package"
    package.mkdir()
    (package / "pocketsphinx.py").write_text(f"MODEL = {str(model.parent)!r}\n{PEER}")
    monkeypatch.setenv("PYTHONPATH", str(package))
