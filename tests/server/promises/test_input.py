"""Damaged, tiny and lying audio through the whole service: what is answered, and to nobody else's
harm.
"""

from __future__ import annotations

import asyncio
import importlib.util
import struct
import threading
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from asr.recognizer import Recognizer
from server.options import BatchOptions
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub

pytestmark = pytest.mark.timed

NEEDS_FFMPEG = pytest.mark.skipif(
    importlib.util.find_spec("av") is None, reason="the extra `formats` is not installed"
)
OK, INVALID = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
METHODS = ("Transcribe", "TranscribeChunks", "TranscribeStream")
FILE = pb.RecognitionConfig()
LINEAR16 = pb.RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16_000)
FLOAT = pb.RecognitionConfig(encoding="AUDIO_ENCODING_FLOAT", sample_rate_hertz=16_000)


@pytest.fixture(scope="module")
def process(start, bundle_path):
    """A real server and its address; it ends well, or something crashed."""
    process, address = start(bundle_path, "--log-level", "error")
    yield process, address
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert errors == ""


@pytest.fixture(scope="module")
def stub(process):
    with grpc.insecure_channel(process[1]) as channel:
        yield SpeechStub(channel)


# Rubbish

Outcome = tuple[str, grpc.StatusCode, float]


def bombard(
    address: str, payloads: Iterator[tuple[str, bytes]], door=None, clients: int = 4
) -> list[Outcome]:
    """Name, status and seconds of a call for each payload; ``clients`` calls at a time.

    ``door`` is that of Riva's clients; None: ``asr.v1``.
    """
    outcomes: list[Outcome] = []

    async def client(channel: grpc.aio.Channel) -> None:
        method = door.stub(channel).Recognize if door else SpeechStub(channel).Transcribe
        for name, audio in payloads:
            message = door.request(FILE, audio) if door else pb.TranscribeRequest(audio=audio)
            sent, code = time.perf_counter(), OK
            try:
                await method(message, timeout=60)
            except grpc.aio.AioRpcError as error:
                code = error.code()
            outcomes.append((name, code, time.perf_counter() - sent))

    async def all_clients() -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            await asyncio.gather(*(client(channel) for _ in range(clients)))

    asyncio.run(all_clients())
    return outcomes


@pytest.fixture(params=["asr.v1", "riva"])
def door(request):
    """See :func:`bombard`."""
    return request.getfixturevalue("riva_door") if request.param == "riva" else None


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_invalid_audio_is_always_the_clients_mistake_and_nothing_crashes(
    process, children_of, rubbish, door, count
):
    server, address = process
    before = children_of(server.pid)
    outcomes = bombard(address, rubbish.invalid_payloads(count, seed=2), door)
    assert len(outcomes) == count
    assert [name for name, code, _ in outcomes if code != INVALID] == []
    assert children_of(server.pid) == before, "no process had to be replaced"


@pytest.mark.parametrize(
    "count", [600, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_damaged_files_are_transcribed_or_refused_in_time(
    process, children_of, rubbish, door, count
):
    server, address = process
    before = children_of(server.pid)
    outcomes = bombard(address, rubbish.mutants(count, seed=2), door)
    assert len(outcomes) == count
    assert [name for name, code, _ in outcomes if code not in (OK, INVALID)] == []
    accepted = sum(code == OK for _, code, _ in outcomes)
    seconds = [seconds for *_, seconds in outcomes]
    median, late = np.quantile(seconds, [0.5, 0.99])
    print(f"{count} mutants, {accepted} accepted: median {median:.4f} s, 99 % below {late:.4f} s")
    assert 0.1 * count < accepted < 0.6 * count, "many mutants are still audio"
    assert late < 0.2
    assert children_of(server.pid) == before


# Files that are not what they are called, and files of which some is missing


@pytest.mark.parametrize("encoding", ["LINEAR16", "FLOAT", "MULAW", "ALAW"])
@pytest.mark.parametrize(
    "name",
    [
        *("WAVEX PCM_24 2", "FLAC PCM_16 1", "OGG OPUS 1", "AIFF FLOAT 1", "MP3 MPEG_LAYER_III 1"),
        *(
            pytest.param(f"{kind} 1", marks=NEEDS_FFMPEG)
            for kind in ("M4A AAC", "WebM Opus", "AAC")
        ),
    ],
)
def test_a_file_with_a_header_is_no_raw_audio(stub, transcribe_by, rubbish, name, encoding):
    config = pb.RecognitionConfig(encoding=f"AUDIO_ENCODING_{encoding}", sample_rate_hertz=16_000)
    audio = rubbish.originals()[name]
    [(code, details)] = {transcribe_by(stub, method, config, audio) for method in METHODS}
    assert code == INVALID
    assert "is a file with a header" in details


@pytest.mark.parametrize(
    "name",
    [
        *("WAV PCM_16 1", "FLAC PCM_16 1", "OGG OPUS 1", "NIST PCM_16 1", "MP3 MPEG_LAYER_III 1"),
        *(pytest.param(f"{kind} 1", marks=NEEDS_FFMPEG) for kind in ("M4A AAC", "WebM Opus")),
    ],
)
def test_a_file_is_heard_to_its_end_or_refused(stub, transcribe_by, rubbish, name):
    """Two of them in a row are twice as long; half of one is refused, and it is said why."""
    audio = rubbish.originals(1.0)[name]
    for method in METHODS:
        code, result = transcribe_by(stub, method, FILE, 2 * audio)
        assert code == OK
        assert result.result_end_time.ToNanoseconds() == 2e9
        code, details = transcribe_by(stub, method, FILE, audio[: len(audio) // 2])
        assert code == INVALID
        assert "cut" in details


# Hardly any audio


def wav(count: int) -> bytes:
    """A WAV file of ``count`` samples that rise and fall."""
    samples = (1000 * np.sin(np.arange(count))).astype("<i2").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1,
                       16_000, 32_000, 2, 16)  # fmt: skip
    return head + b"data" + struct.pack("<I", len(samples)) + samples


SHORT = {
    "nothing": (FILE, b"", "the audio is empty"),
    "no raw samples": (LINEAR16, b"", "the audio is empty"),
    "a file of no frames": (FILE, wav(0), "the audio has no samples"),
    "a file of one sample": (FILE, wav(1), "too short to recognise"),
    "one raw sample": (LINEAR16, b"\0\1", "too short to recognise"),
    "half a raw sample": (LINEAR16, b"\0", "not whole frames"),
    "10 ms, less than a window": (FILE, wav(160), "too short to recognise"),
}


@pytest.mark.parametrize("name", SHORT)
def test_hardly_any_audio_is_refused_alike_by_every_method(stub, transcribe_by, name):
    config, audio, words = SHORT[name]
    answers = {transcribe_by(stub, method, config, audio) for method in METHODS}
    [(code, details)] = answers
    assert code == INVALID
    assert words in details


def test_the_shortest_audio_is_a_whole_answer_and_a_sample_less_is_none(
    stub, recognizer, transcribe_by
):
    shortest = recognizer.min_samples
    for method in METHODS:
        code, result = transcribe_by(stub, method, LINEAR16, bytes(2 * shortest))
        assert code == OK
        assert result.result_end_time.ToNanoseconds() == shortest * 1_000_000_000 // 16_000
        code, details = transcribe_by(stub, method, LINEAR16, bytes(2 * shortest - 2))
        assert code == INVALID
        assert f"at least {shortest / 16_000:.3f} s" in details


# Audio without words


def best(result: pb.SpeechRecognitionResult) -> pb.SpeechRecognitionAlternative:
    [alternative, *_] = result.alternatives
    return alternative


@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize("value", [0, 5_000])
def test_equal_samples_have_no_text(stub, transcribe_by, value, rate):
    config = pb.RecognitionConfig(
        encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=rate, enable_word_time_offsets=True
    )
    audio = np.full(3 * rate, value, "<i2").tobytes()
    for method in METHODS:
        code, result = transcribe_by(stub, method, config, audio)
        assert code == OK
        assert (best(result).transcript, best(result).confidence) == ("", 1.0)
        assert not best(result).words
        assert result.result_end_time.ToNanoseconds() == 3e9


def test_the_operator_chooses_what_is_silence(start, bundle_path, transcribe_by, samples_of):
    """A level of the loudest moment, or a least confidence; the default takes no speech away."""
    audio = (samples_of(0, 1.0) * 32_767).astype("<i2").tobytes()
    for options, is_heard in [
        ([], True),
        (["--silence-gate", "-60"], True),
        (["--silence-gate", "-1"], False),
        (["--min-confidence", "1"], False),
    ]:
        process, address = start(bundle_path, "--log-level", "error", *options)
        with grpc.insecure_channel(address) as channel:
            code, result = transcribe_by(SpeechStub(channel), "Transcribe", LINEAR16, audio)
        process.terminate()
        process.communicate(timeout=60)
        assert code == OK
        assert (best(result).transcript != "") == is_heard


# Samples that are no numbers


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_the_first_sample_that_cannot_be_is_named(stub, transcribe_by, method, value):
    samples = np.zeros(16_000, "<f4")
    samples[[1_234, 9_999]] = value
    code, details = transcribe_by(stub, method, FLOAT, samples.tobytes())
    assert code == INVALID
    assert "1234" in details


class Stepped:
    """A real recogniser that computes a batch only when told to, and remembers their sizes."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self.sizes: list[int] = []
        self._begun, self._may_go_on = threading.Semaphore(0), threading.Semaphore(0)

    def __getattr__(self, name):
        return getattr(self._recognizer, name)

    def log_probs(self, waveforms):
        self.sizes.append(len(waveforms))
        self._begun.release()
        assert self._may_go_on.acquire(timeout=30)
        return self._recognizer.log_probs(waveforms)

    def begun(self) -> None:
        """Wait for the next batch to begin."""
        assert self._begun.acquire(timeout=30)

    def finish(self) -> None:
        """Let it be computed."""
        self._may_go_on.release()


class Batch:
    """Calls that the server is made to compute as one batch, in the order of :meth:`add`."""

    def __init__(self, running, model: Stepped, first: bytes) -> None:
        self.running, self._model = running, model
        self._first = self.send(first)  # keeps the model busy, so that the others gather
        model.begun()
        self.calls: list[grpc.Future] = []

    def send(self, audio: bytes) -> grpc.Future:
        config = pb.RecognitionConfig(
            encoding="AUDIO_ENCODING_FLOAT",
            sample_rate_hertz=16_000,
            decoder="beam",
            max_alternatives=5,
            enable_word_time_offsets=True,
        )
        request = pb.TranscribeRequest(config=config, audio=audio)
        return self.running.stub.Transcribe.future(request, timeout=120)

    def add(self, audio: bytes) -> grpc.Future:
        self.calls.append(self.send(audio))
        batcher = self.running.application.models.get("").batcher
        end = time.monotonic() + 30
        while len(batcher) != len(self.calls):
            assert time.monotonic() < end
            time.sleep(0.001)
        return self.calls[-1]

    def begin(self) -> None:
        """The batch is in the model when this returns."""
        self._model.finish()
        assert self._first.result().results
        self._model.begun()

    def answers(self) -> list[bytes]:
        """Each answer of the calls that were not cancelled, to the bit."""
        self._model.finish()
        return [call.result().SerializeToString() for call in self.calls if not call.cancelled()]


@pytest.fixture
def batches(serving, bundle_path):
    """``batches(first)``: a :class:`Batch` of the real model, and the sizes of all batches."""
    model = Stepped(Recognizer.load(bundle_path, backend="torch"))
    with serving(model, running=16, batch=BatchOptions(wait_seconds=0, parallel=1)) as running:
        yield lambda first: Batch(running, model, first), model.sizes
        for _ in range(10):  # whatever is left, where a test failed
            model.finish()


@pytest.fixture
def mates(samples_of):
    """Audio of several calls that go into one batch."""
    return [samples_of(seed, 0.8 + 0.1 * seed).astype("<f4").tobytes() for seed in range(5)]


def test_a_call_of_no_numbers_leaves_its_neighbours_bit_identical(batches, mates):
    start, sizes = batches
    bad = np.frombuffer(mates[2], "<f4").copy()
    bad[7] = np.nan
    answers = []
    for with_bad in (False, True):
        batch = start(mates[0])
        for audio in mates[:2]:
            batch.add(audio)
        if with_bad:
            error = batch.send(bad.tobytes()).exception(timeout=30)
            assert error.code() == INVALID
            assert "sample 7 " in error.details()
        for audio in mates[2:]:
            batch.add(audio)
        batch.begin()
        answers.append(batch.answers())
    assert sizes == [1, 5, 1, 5], "each time they were one batch"
    assert answers[0] == answers[1]
    assert len(set(answers[0])) == 5, "they are different"


@pytest.mark.parametrize("gone", [0, 2, 4])
def test_a_call_cancelled_in_a_batch_leaves_its_neighbours_bit_identical(batches, mates, gone):
    start, sizes = batches
    answers = []
    for cancel in (False, True):
        batch = start(mates[0])
        for audio in mates:
            batch.add(audio)
        batch.begin()
        if cancel:
            batch.calls[gone].cancel()
            batch.running.settle(4)
        answers.append(batch.answers())
    assert sizes == [1, 5, 1, 5]
    del answers[0][gone]
    assert len(answers[0]) == 4
    assert answers[1] == answers[0]
