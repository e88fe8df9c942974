"""Nothing that a client sends names a file, and nothing that the server reads is a pickle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import Descriptor

from asr.audio import AudioLimits, decode_audio
from asr.types import AudioError
from server.audio.worker import AudioJob, decode
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub

ROOT = Path(__file__).resolve().parents[3]
METHODS = ("Transcribe", "TranscribeChunks", "TranscribeStream")
RAW = {"encoding": "AUDIO_ENCODING_LINEAR16", "sample_rate_hertz": 16_000}
FROM_HEADER = AudioJob("", 0, 0, None, 16_000)

# No paths, addresses or code from clients


def fields(message: Descriptor, seen: set[str]) -> Iterator[str]:
    """The names of all fields of ``message`` and of those within."""
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    for field in message.fields:
        yield f"{message.full_name}.{field.name}"
        if field.message_type is not None:
            yield from fields(field.message_type, seen)


def test_no_request_can_name_a_place_and_no_method_loads_a_model():
    service = pb.DESCRIPTOR.services_by_name["Speech"]
    assert set(service.methods_by_name) == {*METHODS, "ListModels", "GetModel"}
    names = [name for method in service.methods for name in fields(method.input_type, set())]
    assert "asr.v1.RecognitionConfig.model" in names
    for name in names:
        words = name.rpartition(".")[2].split("_")
        assert not {"path", "uri", "url", "file", "folder", "dir", "command"} & set(words), name


class Watch:
    """Files and addresses that this process asks the system for, in which ``marks`` occur."""

    EVENTS = ("open", "os.", "pathlib.", "shutil.", "socket.connect", "socket.getaddr", "urllib.")

    def __init__(self) -> None:
        self.marks: tuple[str, ...] = ()
        self.seen: list[str] = []
        sys.addaudithook(self._hear)  # for ever, but it hears nothing without marks

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.marks and event.startswith(self.EVENTS):
            text = repr(arguments)
            self.seen += [f"{event} {text}" for mark in self.marks if mark in text]


@pytest.fixture(scope="module")
def one_watch() -> Watch:
    return Watch()


@pytest.fixture
def watch(one_watch):
    one_watch.seen.clear()
    yield one_watch
    one_watch.marks = ()


@pytest.fixture(scope="module")
def running(serving, stand_in):
    with serving(stand_in()) as running:
        yield running


def test_a_model_is_a_name_and_never_a_place(running, watch, transcribe_by, bundle_path):
    """Even where a good bundle lies there."""
    relative = os.path.relpath(bundle_path)
    places = [
        *(str(bundle_path), relative, f"stand-in/../{relative}", f"file://{bundle_path}"),
        *("../stand-in", "./stand-in", "stand-in/", "stand-in\0", "http://localhost:9/tiny"),
        *("$(touch tiny)", "~/tiny", "..", ".", "/", "asr.bundle:load_bundle"),
    ]
    (bundle_path / "config.json").read_bytes()
    watch.marks = ("tiny", str(bundle_path), "localhost")
    for place in places:
        config = pb.RecognitionConfig(model=place, **RAW)
        answers = [transcribe_by(running.stub, method, config, bytes(32_000)) for method in METHODS]
        with pytest.raises(grpc.RpcError) as caught:
            running.stub.GetModel(pb.GetModelRequest(name=place), timeout=30)
        codes = [code for code, _ in answers] + [caught.value.code()]
        assert codes == [grpc.StatusCode.NOT_FOUND] * 4, place
    assert watch.seen == []
    (bundle_path / "config.json").read_bytes()
    assert watch.seen, "the watch would have seen it"


def test_audio_is_its_bytes_and_never_a_place(
    running, watch, transcribe_by, tmp_path, samples_of, file_of
):
    path = tmp_path / "speech.wav"
    path.write_bytes(file_of(samples_of(0, 0.5), 16_000, "WAV", "PCM_16"))
    watch.marks = ("speech.wav", "localhost")
    for place in (str(path), f"file://{path}", f"@{path}", "http://localhost:9/speech.wav"):
        for method in METHODS:
            code, details = transcribe_by(
                running.stub, method, pb.RecognitionConfig(), place.encode()
            )
            assert code == grpc.StatusCode.INVALID_ARGUMENT
            assert "not audio" in details
    assert watch.seen == []


def test_nor_does_the_process_that_decodes_go_anywhere(watch, tmp_path, samples_of, file_of):
    """What it runs, in this process, where the watch can hear it."""
    audio = file_of(samples_of(0, 0.5), 16_000, "WAV", "PCM_16")
    path = tmp_path / "speech.wav"
    path.write_bytes(audio)
    decode(FROM_HEADER, audio, AudioLimits())  # whatever is imported late is here now
    watch.marks = ("speech.wav", "localhost")
    for place in (str(path), f"file://{path}", f"@{path}", "http://localhost:9/speech.wav"):
        with pytest.raises(AudioError, match="not audio"):
            decode(FROM_HEADER, place.encode(), AudioLimits())
    assert watch.seen == []
    path.read_bytes()
    assert watch.seen, "the watch would have seen it"


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_what_there_is_to_call_is_not_told(address, version):
    method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    with grpc.insecure_channel(address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            list(channel.stream_stream(method)(iter([b"\x3a\x00"]), timeout=30))
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


# No pickles

# Python reads this at the start of the server and of each process that it starts. numba alone may
# read: what it compiled has constants as pickles in it and is kept as pickles beside the source, as
# Python keeps its own bytecode there. Who can write to that folder can write the source too.
REFUSE = """
import os, pickle, sys, traceback
def check():
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.endswith(("numba/core/caching.py", "numba/core/serialize.py")):
            return
        frame = frame.f_back
    traceback.print_stack()
    print("a pickle was read", file=sys.stderr, flush=True)
    os._exit(99)
def checked(read):
    def function(*given, **more):
        check()
        return read(*given, **more)
    return function
class Unpickler(pickle.Unpickler):
    def __init__(self, *given, **more):
        check()
        super().__init__(*given, **more)
pickle.Unpickler = Unpickler
pickle.load, pickle.loads = checked(pickle.load), checked(pickle.loads)
def hear(event, arguments):
    if event == "pickle.find_class":  # by whatever way
        check()
sys.addaudithook(hear)
"""

# torch reads checkpoints by a reader of its own as well.
SERVE = """
import sys, torch, pickle
from server.main import main
torch.load = torch.serialization.load = pickle.Unpickler
sys.exit(main())
"""


def test_a_server_that_cannot_read_pickles_serves(
    bundle_path, tmp_path, recognizer, samples_of, file_of
):
    """From its start over all decoders to its stop, in all of its processes."""
    (tmp_path / "sitecustomize.py").write_text(REFUSE)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    data = file_of(samples_of(1, 1.0), 16_000, "FLAC", "PCM_16")
    [expected] = recognizer.recognize([decode_audio(data)])
    command = [sys.executable, "-c", SERVE, "--model", str(bundle_path), "--port", "0"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            with grpc.insecure_channel(address) as channel:
                for decoder in ("beam", "prefix", "greedy"):
                    config = pb.RecognitionConfig(decoder=decoder)
                    request = pb.TranscribeRequest(config=config, audio=data)
                    [result] = SpeechStub(channel).Transcribe(request, timeout=120).results
            assert result.alternatives[0].transcript == expected.text
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "pickle" not in errors


@pytest.mark.parametrize(
    "code",
    [
        "import pickle; pickle.loads(pickle.dumps(1))",
        "import pickle, io; pickle.Unpickler(io.BytesIO(pickle.dumps(1)))",
        "import pickle; pickle._loads(pickle.dumps(print))",
        "import torch, io, pickle; torch.load = pickle.Unpickler; torch.load(io.BytesIO(b''))",
        "import multiprocessing; a, b = multiprocessing.Pipe(); a.send(1); b.recv()",
    ],
)
def test_the_refusal_refuses(tmp_path, code):
    """That the test above can fail."""
    (tmp_path / "sitecustomize.py").write_text(REFUSE)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 99, done.stderr
