"""A server in this process with a stand-in for the recogniser, and the real one as a process."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import soundfile
import torch

from asr.audio import AudioLimits
from asr.bundle import Bundle, save_bundle
from asr.decoding import DecoderConfig
from asr.features import FeatureConfig, FeatureExtractor
from asr.nn.model import AcousticModel, AcousticModelConfig
from asr.recognizer import Recognizer
from asr.tokens import Tokenizer
from asr.types import Hypothesis, Transcript, Waveform, Word
from server.lifecycle import ServerOptions, serve
from server.pb.v1.speech_pb2_grpc import SpeechStub

ROOT = Path(__file__).resolve().parents[2]
TOKENS = ["<blank>", "<space>", "a", "b", "c", "d", "e"]


class StandIn:
    """What the service needs of a recogniser; says how long the audio is and how it decoded it."""

    sample_rate = 16_000

    def __init__(self, **limits: float) -> None:
        self.limits = AudioLimits(**limits)
        self.bundle = SimpleNamespace(decoder=DecoderConfig())

    def recognize(
        self, waveforms: list[Waveform], decoder: DecoderConfig | None = None
    ) -> list[Transcript]:
        decoder = decoder or self.bundle.decoder
        text = f"{decoder.name} {decoder.beam_width} {decoder.alternatives}"
        words = (Word("one", 0.125, 0.5, 0.75), Word("two", 0.5, 1.0, 0.25))
        best = Hypothesis(text, score=-1.5, confidence=0.5, words=words)
        return [Transcript((best,), waveform.duration) for waveform in waveforms]


@dataclass
class Running:
    """A server in a thread of this process."""

    address: str
    stop: Callable[[], None]
    thread: threading.Thread
    channel: grpc.Channel = field(init=False)
    stub: SpeechStub = field(init=False)

    def __post_init__(self) -> None:
        self.channel = grpc.insecure_channel(self.address)
        self.stub = SpeechStub(self.channel)


@contextmanager
def run_server(recognizer: object, grace_seconds: float = 30.0) -> Iterator[Running]:
    ready: Queue[tuple[str, Callable[[], None]]] = Queue()

    async def live() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def announce(address: str) -> None:
            ready.put((address, lambda: loop.call_soon_threadsafe(stop.set)))

        await serve(
            lambda: recognizer, ServerOptions(port=0, grace_seconds=grace_seconds), stop, announce
        )

    thread = threading.Thread(target=lambda: asyncio.run(live()), daemon=True)
    thread.start()
    address, stop = ready.get(timeout=30)
    running = Running(address, stop, thread)
    try:
        yield running
    finally:
        running.channel.close()
        if thread.is_alive():
            stop()
        thread.join(timeout=30)
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="session")
def serving() -> Callable[..., object]:
    """``with serving(recognizer) as running``: a server in this process."""
    return run_server


@pytest.fixture(scope="session")
def stand_in() -> type[StandIn]:
    return StandIn


def make_bundle() -> Bundle:
    """Random weights, large enough to say different things of different audio."""
    torch.manual_seed(0)
    extractor = FeatureExtractor(FeatureConfig(num_mels=13, stack=2, subsample=2))
    model = AcousticModel(AcousticModelConfig(extractor.config.size, len(TOKENS), 16, 1))
    with torch.no_grad():
        for weight in model.recurrent.parameters():
            weight.mul_(2.0)
        model.output.weight.mul_(12.0)
    return Bundle(extractor, model, Tokenizer(TOKENS), DecoderConfig(), "tiny")


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    save_bundle(make_bundle(), path)
    return path


@pytest.fixture(scope="session")
def recognizer(bundle_path: Path) -> Recognizer:
    return Recognizer.load(bundle_path)


def start_process(bundle: Path, *arguments: str) -> subprocess.Popen[str]:
    """The ``asr-server`` command on a free port, not yet ready."""
    return subprocess.Popen(
        [sys.executable, "-m", "server.main", "--model", str(bundle), "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def read_address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on 127.0.0.1:"), process.communicate()
    return line.split()[-1]


@pytest.fixture(scope="session")
def start() -> Callable[..., tuple[subprocess.Popen[str], str]]:
    """Start a real server process; gives it with its address once it is ready."""

    def begin(bundle: Path, *arguments: str) -> tuple[subprocess.Popen[str], str]:
        process = start_process(bundle, *arguments)
        return process, read_address(process)

    return begin


@pytest.fixture(scope="session")
def address(bundle_path: Path) -> Iterator[str]:
    """Where a real server process answers, one for all tests that leave it alone."""
    process = start_process(bundle_path)
    yield read_address(process)
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def make_samples(seed: int, seconds: float, sample_rate: int = 16_000) -> np.ndarray:
    """Tones that change every tenth of a second, float32 ``(N,)``."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    pitch = rng.uniform(100, 0.4 * sample_rate, size=int(seconds * 10) + 1)
    tone = 0.3 * np.sin(2 * np.pi * pitch[(time * 10).astype(int)] * time)
    return tone.astype(np.float32)


@pytest.fixture(scope="session")
def samples_of() -> Callable[..., np.ndarray]:
    return make_samples


@pytest.fixture(scope="session")
def file_of() -> Callable[..., bytes]:
    """``file_of(samples, rate, "WAV", "PCM_16")``: the bytes of an audio file."""

    def encode(samples: np.ndarray, rate: int, container: str, subtype: str) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, samples, rate, format=container, subtype=subtype)
        return file.getvalue()

    return encode
