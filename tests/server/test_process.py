"""The commands as a user runs them: a server process, a socket, the client."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from asr.audio import decode_audio
from asr.cli.main import main as asr_main
from asr.decoding import BeamOptions
from asr.recognizer import Recognizer
from asr.types import Waveform
from server.client import Client, ClientError, RecognitionConfig
from server.client_cli.main import main
from server.limits import MESSAGE_LIMIT
from server.main import main as server_main
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub

FILES = [
    (16000, "WAV", "PCM_16"),
    (16000, "WAV", "FLOAT"),
    (8000, "WAV", "PCM_24"),
    (16000, "FLAC", "PCM_16"),
    (44100, "FLAC", "PCM_16"),
    (16000, "OGG", "VORBIS"),
    (48000, "OGG", "OPUS"),
    (16000, "NIST", "PCM_16"),
]
BEAM = BeamOptions(beam_width=5, nbest=3)


@pytest.fixture(scope="module")
def client(address):
    with Client(address, timeout=60) as client:
        yield client


@pytest.mark.parametrize(("rate", "container", "subtype"), FILES)
def test_the_server_hears_what_the_recogniser_hears(
    client, recognizer, samples_of, file_of, rate, container, subtype
):
    data = file_of(samples_of(1, 1.5, rate), rate, container, subtype)
    transcription = client.transcribe(data)
    (expected,) = recognizer.recognize([decode_audio(data)])
    assert transcription.text == expected.text != ""
    assert transcription.duration == pytest.approx(expected.duration, abs=1e-9)


def test_the_backend_is_the_one_named(start, bundle_path, samples_of, file_of):
    data = file_of(samples_of(1, 1.5), 16000, "WAV", "PCM_16")
    (expected,) = Recognizer.load(bundle_path, backend="onnx-int8").recognize([decode_audio(data)])
    process, address = start(bundle_path, "--backend", "onnx-int8")
    with Client(address, timeout=60) as client:
        (best, *_) = client.transcribe(data).hypotheses
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    (other,) = Recognizer.load(bundle_path, backend="torch").recognize([decode_audio(data)])
    assert best.confidence == pytest.approx(expected.hypotheses[0].confidence, abs=1e-7)
    assert best.confidence != pytest.approx(other.hypotheses[0].confidence, abs=1e-7)


@pytest.mark.parametrize("encoding", ["LINEAR16", "FLOAT"])
def test_raw_samples_are_heard_as_their_file_is(client, samples_of, file_of, encoding):
    samples = samples_of(2, 1.0)
    if encoding == "LINEAR16":
        raw = np.round(samples * 32767).astype("<i2")
        data = file_of(raw, 16000, "WAV", "PCM_16")
    else:
        raw = samples.astype("<f4")
        data = file_of(raw, 16000, "WAV", "FLOAT")
    config = RecognitionConfig(encoding=f"AUDIO_ENCODING_{encoding}", sample_rate_hertz=16000)
    assert client.transcribe(raw.tobytes(), config) == client.transcribe(data)


def test_alternatives_words_and_scores_are_the_recognisers(client, recognizer, samples_of, file_of):
    samples = samples_of(3, 2.0)
    data = file_of(samples, 16000, "WAV", "FLOAT")
    config = RecognitionConfig(
        decoder="beam", beam_width=5, max_alternatives=3, enable_word_time_offsets=True
    )
    transcription = client.transcribe(data, config)
    (expected,) = recognizer.recognize([Waveform(samples, 16000)], recognizer.decoder(BEAM))
    assert len(transcription.hypotheses) == len(expected.hypotheses) == 3
    for got, wanted in zip(transcription.hypotheses, expected.hypotheses, strict=True):
        assert got.text == wanted.text
        assert got.score == pytest.approx(wanted.score, abs=1e-4)
        assert got.confidence == pytest.approx(wanted.confidence, abs=1e-5)
        assert [word.text for word in got.words] == [word.text for word in wanted.words]
        for ours, theirs in zip(got.words, wanted.words, strict=True):
            assert (ours.start, ours.end) == pytest.approx((theirs.start, theirs.end), abs=1e-8)
            assert ours.confidence == pytest.approx(theirs.confidence, abs=1e-5)


def test_a_file_above_the_message_limit_is_heard_whole(client, recognizer, samples_of, file_of):
    samples = samples_of(4, 1.5, 96000)
    data = file_of(np.tile(samples[:, None], 8), 96000, "WAV", "FLOAT")
    assert len(data) > MESSAGE_LIMIT
    (expected,) = recognizer.recognize([decode_audio(data)])
    assert client.transcribe(data).text == expected.text != ""


BAD = {
    "empty": b"",
    "not audio": b"This is a letter to the editor.\n" * 100,
    "only a header": b"RIFF\x24\x00\x00\x00WAVE",
    "an unknown container": b"\x1aE\xdf\xa3" + bytes(1000),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_what_is_not_audio_is_refused_and_the_server_lives(client, samples_of, file_of, data):
    with pytest.raises(ClientError) as caught:
        client.transcribe(data)
    assert caught.value.code is not None
    assert caught.value.code.name == "INVALID_ARGUMENT"
    assert "/" not in str(caught.value), "no path of the machine"
    assert client.transcribe(file_of(samples_of(1, 0.5), 16000, "WAV", "PCM_16")).text


def test_audio_shorter_than_a_frame_is_refused_alike_in_both_methods(client):
    config = RecognitionConfig(encoding="AUDIO_ENCODING_LINEAR16", sample_rate_hertz=16000)
    with pytest.raises(ClientError, match="too short") as caught:
        client.transcribe(bytes(2), config)
    assert caught.value.code is not None
    assert caught.value.code.name == "INVALID_ARGUMENT"


# The commands


@pytest.fixture(scope="module")
def files(tmp_path_factory, samples_of, file_of) -> list[str]:
    folder = tmp_path_factory.mktemp("audio")
    paths = [folder / f"{index}.wav" for index in range(3)]
    for index, path in enumerate(paths):
        path.write_bytes(file_of(samples_of(index, 1.0), 16000, "WAV", "PCM_16"))
    return [str(path) for path in paths]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--nbest", "1"],
        ["--nbest", "2"],
        ["--phrase", "ab", "--phrase", "c", "--phrase-weight", "3"],
    ],
)
def test_asr_client_prints_what_asr_transcribe_prints(address, bundle_path, files, capsys, options):
    assert main([*files, "--address", address, *options]) == 0
    served = capsys.readouterr()
    assert asr_main(["transcribe", str(bundle_path), *files, *options]) == 0
    assert served.out == capsys.readouterr().out
    assert served.err == "", "progress is for terminals"


def test_asr_client_writes_the_json_of_asr_transcribe(
    address, bundle_path, files, tmp_path, capsys
):
    output = tmp_path / "out.jsonl"
    assert main([*files, "--address", address, "--format", "json", "--output", str(output)]) == 0
    assert asr_main(["transcribe", str(bundle_path), *files, "--format", "json"]) == 0
    printed = capsys.readouterr().out
    served = [json.loads(line) for line in output.read_text().splitlines()]
    local = [json.loads(line) for line in printed.splitlines()]
    for record in local:
        for hypothesis in record["hypotheses"]:
            del hypothesis["tokens"]  # the service gives words
    assert served == local


def test_a_bad_file_does_not_lose_the_others(address, files, tmp_path, capsys):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    missing = str(tmp_path / "missing.wav")
    mixed = [files[0], str(bad), missing, files[1]]
    assert main([*mixed, "--address", address]) == 2
    out, err = capsys.readouterr()
    assert [line.split("\t")[0] for line in out.splitlines()] == [files[0], files[1]]
    for line, named in zip(err.splitlines(), [str(bad), missing, "2 of 4 files"], strict=True):
        assert line.startswith(f"asr-client: error: {named}")

    assert main([*mixed, "--address", address, "--format", "json"]) == 2
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["file"] for record in records] == mixed
    assert ["error" in record for record in records] == [False, True, True, False]


def test_a_lost_server_ends_the_command_at_once(files, capsys):
    assert main([*files, "--address", "127.0.0.1:9"]) == 2
    first, last = capsys.readouterr().err.splitlines()
    assert "127.0.0.1:9 is not available" in first
    assert "3 of 3 files" in last


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--decoder", "viterbi"], "'viterbi'"),
        (["--model", "another"], "there is no model 'another' (choose one of tiny)"),
        (["--beam-width", "5000"], "5000"),
        (["--beam-width", "99999999999"], "out of range"),
        (["--sample-rate", "8000"], "header says 16000"),
        (["--encoding", "LINEAR16"], "--sample-rate is missing"),
        (["--output", "/"], "/"),
    ],
)
def test_wrong_options_are_one_line_and_exit_2(address, files, capsys, options, message):
    assert main([files[0], "--address", address, *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_timeout_must_be_a_time(files, capsys):
    for text in ("0", "-1", "nan", "soon"):
        with pytest.raises(SystemExit) as caught:
            main([files[0], "--timeout", text])
        assert caught.value.code == 2
        assert "--timeout" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_call_in_progress_finish(
    start, bundle_path, recognizer, samples_of, file_of, number
):
    """The stream is held open over the signal, so the call is in progress for certain."""
    process, address = start(bundle_path)
    data = file_of(samples_of(5, 1.0), 16000, "WAV", "PCM_16")
    signalled, reading = threading.Event(), threading.Event()

    def requests():
        yield pb.TranscribeChunksRequest(config=RecognitionConfig())
        yield pb.TranscribeChunksRequest(audio_content=data[:1000])
        reading.set()
        assert signalled.wait(30)
        yield pb.TranscribeChunksRequest(audio_content=data[1000:])

    with grpc.insecure_channel(address) as channel:
        call = SpeechStub(channel).TranscribeChunks.future(requests(), timeout=60)
        assert reading.wait(30)
        # The first messages are sent in order on one connection, so an answer to a later call
        # tells that the server has taken up the stream.
        HealthStub(channel).Check(HealthCheckRequest(), timeout=30)
        process.send_signal(number)
        assert process.stderr is not None
        assert any("draining" in line for line in iter(process.stderr.readline, ""))
        signalled.set()
        text = call.result().results[0].alternatives[0].transcript
    assert text == recognizer.recognize([decode_audio(data)])[0].text
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == ""
    assert "ERROR" not in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "{tmp}/none"], "no such bundle"),
        (["--model", "{tmp}"], "config.json"),
        (["--model", "{bundle}", "--device", "abacus"], "abacus"),
        (["--model", "{bundle}", "--port", "70000"], "70000"),
        (["--model", "{bundle}", "--default-model", "tiny"], "--model-repository"),
        (["--model", "{bundle}", "--host", "256.0.0.1"], "256.0.0.1"),
    ],
)
def test_a_server_that_cannot_start_says_why_and_exits_2(
    tmp_path: Path, bundle_path, capsys, arguments, message
):
    filled = [part.format(tmp=tmp_path, bundle=bundle_path) for part in arguments]
    assert server_main(["--port", "0", *filled]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err.splitlines()[-1]


def test_a_process_that_cannot_start_ends_with_2_and_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "server.main",
        "--model",
        str(tmp_path / "none"),
        "--port",
        "0",
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("asr-server: error: ")
