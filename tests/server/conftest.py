"""A server in this process with a stand-in for the recogniser, and the real one as a process."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

import grpc
import numpy as np
import pytest
import soundfile
import torch

from asr.bundle import Bundle, save_bundle
from asr.decoding import DecoderOptions, GreedyOptions, Phrase, Stop
from asr.features import FeatureConfig, FeatureExtractor
from asr.gate import Gate
from asr.nn.model import AcousticModel, AcousticModelConfig, NetworkConfig
from asr.recognizer import PreparedWaveform, Recognizer
from asr.segmenter import Segmenter, SegmentOptions
from asr.tokens import Tokenizer
from asr.types import Hypothesis, Transcript, Waveform, Word
from server import lifecycle
from server.application import Application
from server.lifecycle import Signals
from server.options import (
    BatchOptions,
    CapacityOptions,
    ListenOptions,
    ServerOptions,
    StreamOptions,
)
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub

ROOT = Path(__file__).resolve().parents[2]


def load_beside(name: str) -> ModuleType:
    """The module ``name`` of this folder, whose fixtures several folders below share."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_echo = load_beside("echo_service")
authority, to_pem, serve, echo = _echo.authority, _echo.to_pem, _echo.serve, _echo.echo
each_kind, status_of, own_logging = _echo.each_kind, _echo.status_of, _echo.own_logging
_fake = load_beside("fake_service")
serve_fake, fake, failure, gate = _fake.serve_fake, _fake.fake, _fake.failure, _fake.gate
riva_door = load_beside("riva_door").riva_door
_virtual = load_beside("virtual_time")
virtually, instantly = _virtual.virtually, _virtual.instantly
load_beside("limit_table")  # tests import it
TOKENS = ["<blank>", "<space>", "a", "b", "c", "d", "e"]
METHODS = ("Transcribe", "TranscribeChunks", "TranscribeStream")
PIECE = 1024 * 1024


class StandIn:
    """What the service needs of a recogniser; says how it decoded and how many frames there were.

    ``before`` is called with the name of each stage (``"model"``, ``"decode"``) and what it is
    given: a test may block there, count, or fail. The warm-up goes by.
    """

    sample_rate = 16_000
    seconds_per_frame = 0.02
    can_stream = False
    min_samples = 320
    tokenizer = Tokenizer(TOKENS)
    gate = Gate()

    def __init__(self, before: Callable[[str, object], None] = lambda stage, given: None) -> None:
        self.before = before
        self.bundle = SimpleNamespace(decoder=GreedyOptions(), language=None, language_code="en-US")

    def recognize(self, waveforms: list[Waveform], decoder: object = None) -> list[Transcript]:
        return [Transcript((Hypothesis("", 0.0, 1.0),), w.duration) for w in waveforms]

    def prepare(self, waveform: Waveform) -> PreparedWaveform:
        return PreparedWaveform(waveform.samples, waveform.sample_rate, waveform.duration)

    def log_probs(self, waveforms: list[Waveform]) -> tuple[torch.Tensor, torch.Tensor]:
        self.before("model", waveforms)
        lengths = torch.tensor([len(waveform.samples) // 320 for waveform in waveforms])
        return torch.zeros(len(waveforms), int(lengths.max()), len(TOKENS)), lengths

    def segmenter(self, options: SegmentOptions) -> Segmenter:
        return Segmenter(options, self.sample_rate, self.sample_rate // 50, (1,))

    def decoder(self, options: DecoderOptions, phrases: Sequence[Phrase] = ()) -> StandInDecoder:
        return StandInDecoder(self, options, tuple(phrases))

    def decode(
        self, decoder: StandInDecoder, lengths: torch.Tensor, stop: Stop
    ) -> list[list[Hypothesis]]:
        self.before("decode", stop)
        options = decoder.options
        width = getattr(options, "beam_width", "-")
        text = f"{options.name} {width} {options.nbest} {int(lengths[0])}"
        text += "".join(f" {phrase.text}:{phrase.weight:g}" for phrase in decoder.phrases)
        words = (Word("one", 0.125, 0.5, 0.75), Word("two", 0.5, 1.0, 0.25))
        return [[Hypothesis(text, score=-1.5, confidence=0.5, words=words)]]


@dataclass(frozen=True)
class StandInDecoder:
    """Says what it was made with."""

    owner: StandIn
    options: DecoderOptions
    phrases: tuple[Phrase, ...]

    def decode(
        self, log_probs: torch.Tensor, lengths: torch.Tensor, stop: Stop
    ) -> list[list[Hypothesis]]:
        return self.owner.decode(self, lengths, stop)


@dataclass(frozen=True)
class StandInFolder:
    """Where a stand-in is to be found."""

    name: str
    path: object
    stamp: str = "0"

    def fingerprint(self) -> str:
        return self.stamp


@dataclass
class StandInSource:
    """Stand-ins by name, as a source of models; the first is the default."""

    stand_ins: dict[str, object]
    stamp: str = "0"

    @property
    def default(self) -> str | None:
        return next(iter(self.stand_ins))

    def find(self) -> list[StandInFolder]:
        return [StandInFolder(name, found, self.stamp) for name, found in self.stand_ins.items()]


@dataclass
class Running:
    """A server in a thread of this process."""

    address: str
    stop: Callable[[], None]
    reload: Callable[[], None]
    thread: threading.Thread
    in_time: list[bool]
    loop: asyncio.AbstractEventLoop
    application: Application
    channel: grpc.Channel = field(init=False)
    stub: SpeechStub = field(init=False)

    def __post_init__(self) -> None:
        self.channel = grpc.insecure_channel(self.address)
        self.stub = SpeechStub(self.channel)

    def settle(self, accepted: int) -> None:
        """Wait until so many calls have a place."""
        end = time.monotonic() + 30
        while self.application.admission.accepted != accepted:
            assert time.monotonic() < end, "they never came, or never went"
            time.sleep(0.001)


@contextmanager
def run_server(
    *stand_ins: object, source: StandInSource | None = None, **options: object
) -> Iterator[Running]:
    """A server of the first stand-in, or of ``source``; ``options`` are those of its capacity,
    ``grace_seconds``, ``batch`` and ``streams`` apart.
    """
    ready: Queue[tuple[str, asyncio.AbstractEventLoop, Signals]] = Queue()
    grace_seconds, batch = options.pop("grace_seconds", 30.0), options.pop("batch", BatchOptions(1))
    listen = options.pop("listen", ListenOptions(port=0))
    stream = StreamOptions(streams=options.pop("streams", 64))
    chosen = ServerOptions(
        listen=listen,
        capacity=CapacityOptions(**{"audio_processes": 1, **options}),
        batch=batch,
        stream=stream,
        grace_seconds=grace_seconds,
    )
    source = source or StandInSource({"stand-in": stand_ins[0]})
    in_time: list[bool] = []
    made: list[Application] = []

    def make(*arguments: object) -> Application:
        made.append(Application(*arguments))
        return made[-1]

    async def live() -> None:
        loop, signals = asyncio.get_running_loop(), Signals()
        in_time.append(
            await lifecycle.serve(
                source,
                lambda stand_in: stand_in,
                chosen,
                signals,
                lambda address: ready.put((address, loop, signals)),
            )
        )

    thread = threading.Thread(target=lambda: asyncio.run(live()), daemon=True)
    with patch.object(lifecycle, "Application", make):
        thread.start()
        address, loop, signals = ready.get(timeout=120)
    running = Running(
        address,
        lambda: loop.call_soon_threadsafe(signals.stop.set),
        lambda: loop.call_soon_threadsafe(signals.reload.set),
        thread,
        in_time,
        loop,
        made[0],
    )
    try:
        yield running
    finally:
        running.channel.close()
        if thread.is_alive():
            running.stop()
        thread.join(timeout=30)
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(autouse=True)
def as_logged_before() -> Iterator[None]:
    """A command that ran in this process leaves its log handlers, and the next test's alone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def serving() -> Callable[..., object]:
    """``with serving(recognizer) as running``: a server in this process."""
    return run_server


class Gate:
    """A stage of stand-ins that can be held shut: ``StandIn(before=Gate("model"))``."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.reached = threading.Semaphore(0)
        self.given: list[object] = []
        self._open = threading.Event()
        self._open.set()

    def __call__(self, stage: str, given: object) -> None:
        if stage == self.stage:
            self.given.append(given)
            self.reached.release()
            assert self._open.wait(60), "the gate stayed shut"

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def wait(self, count: int = 1) -> None:
        """Until the stage was reached ``count`` times more."""
        for _ in range(count):
            assert self.reached.acquire(timeout=30)


@pytest.fixture
def gate_at() -> Iterator[Callable[[str], Gate]]:
    """``gate_at("model")``: a gate, open again at the end of the test."""
    gates: list[Gate] = []

    def make(stage: str) -> Gate:
        gates.append(Gate(stage))
        return gates[-1]

    yield make
    for gate in gates:
        gate.open()


@pytest.fixture(scope="session")
def stand_in() -> type[StandIn]:
    return StandIn


@pytest.fixture(scope="session")
def stand_in_source() -> type[StandInSource]:
    return StandInSource


def make_bundle(tokens: Sequence[str] = TOKENS, hidden: int = 16, layers: int = 1) -> Bundle:
    """Random weights, large enough to say different things of different audio."""
    torch.manual_seed(0)
    extractor = FeatureExtractor(FeatureConfig(num_mels=13, stack=2, subsample=2))
    model = AcousticModel(
        AcousticModelConfig(extractor.config.size, len(tokens), NetworkConfig(hidden, layers))
    )
    with torch.no_grad():
        for weight in model.recurrent.parameters():
            weight.mul_(2.0)
        model.output.weight.mul_(12.0)
    return Bundle(extractor, model, Tokenizer(tokens), GreedyOptions(), "tiny")


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    save_bundle(make_bundle(), path)
    return path


@pytest.fixture(scope="session")
def large_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As large as the demo's model, and with as many tokens: 3 layers of 128 cells a direction."""
    path = tmp_path_factory.mktemp("bundles") / "large"
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    save_bundle(make_bundle(["<blank>", "<space>", "'", *letters], 128, 3), path)
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


def requests_of(
    method: str, config: pb.RecognitionConfig, audio: bytes, piece: int = PIECE
) -> pb.TranscribeRequest | Iterator[object]:
    """What ``method`` takes for ``audio``."""
    if method == "Transcribe":
        return pb.TranscribeRequest(config=config, audio=audio)
    message = getattr(pb, f"{method}Request")
    pieces = (audio[place : place + piece] for place in range(0, len(audio), piece))
    return iter([message(config=config), *(message(audio_content=part) for part in pieces)])


def transcribe(
    stub: SpeechStub, method: str, config: pb.RecognitionConfig, audio: bytes
) -> tuple[grpc.StatusCode, str | pb.SpeechRecognitionResult]:
    """The status of a call, with its message or, where it is OK, its result."""
    try:
        answer = getattr(stub, method)(requests_of(method, config, audio), timeout=120)
        last = list(answer)[-1].result if method == "TranscribeStream" else answer.results[0]
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, last


@pytest.fixture(scope="session")
def transcribe_by() -> Callable[..., tuple[grpc.StatusCode, object]]:
    """``transcribe_by(stub, method, config, audio)``: one call by any of the three methods."""
    return transcribe


def process_ids(pid: int) -> list[int]:
    """The processes that ``pid`` started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sorted(int(child) for task in tasks for child in (task / "children").read_text().split())


@pytest.fixture(scope="session")
def children_of() -> Callable[[int], list[int]]:
    return process_ids


def memory_of(pid: int, name: str = "VmRSS") -> int:
    """Bytes that a process holds; ``VmHWM``: the most that it held."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith(name)) * 1024


@pytest.fixture(scope="session")
def memory() -> Callable[..., int]:
    return memory_of


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
    process = start_process(bundle_path, "--log-level", "warning")  # nobody reads it meanwhile
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
