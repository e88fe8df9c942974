"""A server of the tiny model with the real client of NVIDIA Riva before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

riva = pytest.importorskip("riva.client", reason="the extra riva is not installed")


@pytest.fixture(scope="session")
def running(serving, recognizer) -> Iterator[object]:
    with serving(recognizer, idle_seconds=5.0) as running:
        yield running


@pytest.fixture(scope="session")
def asr(running) -> Iterator[object]:
    """The client, connected."""
    auth = riva.Auth(uri=running.address)
    yield riva.ASRService(auth)
    auth.channel.close()


@pytest.fixture(scope="session")
def speech(samples_of, file_of, tmp_path_factory) -> Path:
    """A WAV file with something to hear."""
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    path.write_bytes(file_of(samples_of(3, 2.0), 16_000, "WAV", "PCM_16"))
    return path
