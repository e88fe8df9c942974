"""Speech for tests of features: made up, and real."""

import pytest
import torch

from asr.audio import read_audio
from tests.asr.features.signals import synthetic_speech


@pytest.fixture(params=["synthetic", "real"])
def speech(request, shared_data):
    if request.param == "synthetic":
        return synthetic_speech()
    path = next(iter(sorted((shared_data("an4") / "wav").rglob("*.flac"))))
    return torch.from_numpy(read_audio(path).samples)
