"""The `asr-client` command against a service that says what it heard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from server.client_cli.main import FIELDS, main
from server.limits import MESSAGE_LIMIT
from server.pb.v1.speech_pb2 import StreamingRecognitionConfig

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def command(fake, capfd):
    """``command("a.wav")`` runs it with the fake service: exit status, stdout, lines of stderr."""

    def run(*arguments: object, address: str = fake.address):
        status = main([*map(str, arguments), "--address", address])
        out, err = capfd.readouterr()
        return SimpleNamespace(status=status, out=out, errors=err.splitlines())

    return run


def write(folder: Path, *names: str) -> list[Path]:
    """Files of 1, 2, 3 ... bytes, so that each can be told from its text."""
    paths = [folder / name for name in names]
    for size, path in enumerate(paths, start=1):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    return paths


# Inputs


def test_a_folder_stands_for_its_audio_in_order(command, tmp_path):
    b, a, deep, upper = write(tmp_path, "b.wav", "a.flac", "c/d/e.ogg", "c/F.WAV")
    write(tmp_path, "notes.txt", ".hidden.wav", ".git/x.wav", "c/g.raw")
    (single,) = write(tmp_path, "notes.txt")
    result = command(single, tmp_path)
    assert (result.status, result.errors) == (0, [])
    files = [line.split("\t")[0] for line in result.out.splitlines()]
    assert files == [str(path) for path in (single, a, b, upper, deep)]


def test_raw_samples_have_other_suffixes(command, fake, tmp_path):
    write(tmp_path, "a.wav", "b.raw", "c.ulaw")
    result = command(tmp_path, "--encoding", "MULAW", "--sample-rate", "8000")
    assert [line.split("\t")[0] for line in result.out.splitlines()] == [
        str(tmp_path / "b.raw"),
        str(tmp_path / "c.ulaw"),
    ]


def test_a_folder_without_audio_is_an_error(command, tmp_path):
    write(tmp_path, "notes.txt")
    result = command(tmp_path)
    assert (result.status, result.out) == (2, "")
    [error] = result.errors
    assert error.startswith(f"asr-client: error: {tmp_path}: no audio files in this folder (.wav, ")
    assert all(kind in error for kind in (".flac", ".opus", ".mp3", ".m4a", ".webm"))


@pytest.mark.parametrize("size", [1000, MESSAGE_LIMIT + 1000])
def test_standard_input_is_heard(fake, size):
    audio = os.urandom(size)
    done = subprocess.run(
        [sys.executable, "-m", "server.client_cli.main", "-", "--address", fake.address],
        input=audio,
        capture_output=True,
        cwd=ROOT,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"%d bytes\n" % size
    assert fake.heard[0].audio == audio


def test_standard_input_is_alone(command, tmp_path):
    (file,) = write(tmp_path, "a.wav")
    result = command("-", file)
    assert result.status == 2
    assert "only input" in result.errors[0]


@pytest.mark.parametrize("arguments", [[], ["a.wav", "--microphone"], ["a.wav", "--list-models"]])
def test_there_is_one_thing_to_do(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "either files, or --microphone, or --list-models" in capsys.readouterr().err


# Options


def test_options_reach_the_server(command, fake, tmp_path):
    (file,) = write(tmp_path, "a.raw")
    options = {
        "--model": "phones",
        "--decoder": "prefix",
        "--beam-width": 7,
        "--nbest": 2,
        "--channel": 2,
        "--channels": 3,
        "--encoding": "ALAW",
        "--sample-rate": 8000,
    }
    assert command(file, *[part for pair in options.items() for part in pair]).status == 0
    config = fake.heard[0].config
    assert (config.model, config.decoder, config.beam_width) == ("phones", "prefix", 7)
    assert (config.max_alternatives, config.audio_channel) == (2, 2)
    assert (config.audio_channel_count, config.encoding) == (3, 6)
    assert config.sample_rate_hertz == 8000
    assert not config.enable_word_time_offsets


@pytest.mark.parametrize("way", [[], ["--stream"]])
def test_what_the_server_says_of_fields_is_said_of_options(
    command, serve_fake, failure, tmp_path, way
):
    (file,) = write(tmp_path, "a.wav")
    told = "greedy decoding takes no speech_contexts, max_alternatives is 9, 'lm_weight' a phrase"
    other = serve_fake(None, failure("INVALID_ARGUMENT", told))
    done = command(file, "--phrase", "a", *way, address=other.address)
    assert done.status == 2
    assert "takes no --phrase, --nbest is 9, 'lm_weight' a phrase" in done.errors[0]


@pytest.mark.parametrize(("name", "option"), FIELDS.items())
def test_a_fields_option_sets_it(command, fake, tmp_path, name, option):
    (file,) = write(tmp_path, "a.raw")
    switches = {"--each-channel", "--written", "--single-utterance"}
    value = [] if option in switches else ["1"]
    raw = ["--encoding", "LINEAR16", "--sample-rate", "16000"]
    live = name in StreamingRecognitionConfig.DESCRIPTOR.fields_by_name
    command(file, *raw, *(["--stream"] if live else []), option, *value)
    config = fake.heard[0].live if live else fake.heard[0].config
    assert name in [field.name for field, _ in config.ListFields()]


def test_the_former_name_of_nbest_still_works(command, fake, tmp_path):
    (file,) = write(tmp_path, "a.raw")
    assert command(file, "--alternatives", "2").status == 0
    assert fake.heard[0].config.max_alternatives == 2
    assert command(file).status == 0
    assert fake.heard[1].config.max_alternatives == 0


def test_models_are_listed(command):
    result = command("--list-models")
    assert result.status == 0
    assert result.out == (
        "letters\t16000 Hz\tbeam, greedy, prefix\tdefault\nphones\t8000 Hz\tgreedy\n"
    )
    models = [
        json.loads(line) for line in command("--list-models", "--format", "json").out.splitlines()
    ]
    assert [model["name"] for model in models] == ["letters", "phones"]
    assert models[0]["frame_step"] == 0.02


def test_an_unknown_model_is_told_as_the_server_puts_it(command, tmp_path):
    files = write(tmp_path, "a.wav", "b.wav")
    result = command(*files, "--model", "words")
    assert (result.status, result.out) == (2, "")
    first, last = result.errors
    assert first.endswith("a.wav: there is no model 'words'")
    assert "2 of 2 files" in last


def test_a_token_and_its_absence(command, serve_fake, failure, fake, tmp_path):
    token = tmp_path / "token"
    token.write_text("sesame\n")
    (file,) = write(tmp_path, "a.wav")
    assert command(file, "--token-file", token).status == 0
    assert fake.heard[0].metadata["authorization"] == "Bearer sesame"

    strict = serve_fake(None, failure("UNAUTHENTICATED", "a token is wanted"))
    result = command(file, address=strict.address)
    assert result.status == 2
    assert result.errors[0].endswith("a token is wanted (give --token-file)")

    result = command(file, "--token-file", token, address="192.0.2.1:50051")
    assert result.status == 2
    assert "--tls-ca" in result.errors[0]
    assert "sesame" not in result.errors[0]


def test_a_full_server_is_told_after_the_last_attempt(command, serve_fake, failure, tmp_path):
    full = serve_fake(None, *[failure("RESOURCE_EXHAUSTED", "32 calls wait") for _ in range(9)])
    (file,) = write(tmp_path, "a.wav")
    result = command(file, "--retries", 1, address=full.address)
    assert result.status == 2
    assert "is full: 32 calls wait (try again later)" in result.errors[0]
    assert len(full.heard) == 2


def test_a_lost_server_ends_the_command(command, tmp_path):
    files = write(tmp_path, "a.wav", "b.wav", "c.wav")
    for parallel in (1, 2):
        result = command(
            *files,
            *("--retries", 0, "--format", "json", "--parallel", parallel),
            address="127.0.0.1:9",
        )
        assert result.status == 2
        assert "127.0.0.1:9 is not available" in result.errors[0]
        assert "3 of 3 files" in result.errors[-1]
        records = [json.loads(line) for line in result.out.splitlines()]
        assert [record["file"] for record in records] == [str(file) for file in files]
        assert all("is not available" in record["error"] for record in records)


def test_what_grpc_thinks_of_it_is_not_printed(fake, tmp_path):
    """Its core writes to the file descriptor, here that the handshake failed."""
    (file,) = write(tmp_path, "a.wav")
    command = [sys.executable, "-m", "server.client_cli.main", str(file), "--address", fake.address]
    environment = {key: value for key, value in os.environ.items() if key != "GRPC_VERBOSITY"}
    done = subprocess.run(
        [*command, "--tls", "--retries", "0"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "does not speak TLS" in line


# Several files


def test_files_are_transcribed_at_once_and_written_in_order(command, fake, tmp_path):
    """Each waits until all are being transcribed, and the first until the others are answered."""
    files = write(tmp_path, "a.wav", "b.wav", "c.wav", "d.wav")
    together = threading.Barrier(4)
    others = threading.Semaphore(0)

    def hold(audio: bytes) -> None:
        together.wait(30)
        if len(audio) > 1:
            others.release()
        else:
            assert all(others.acquire(timeout=30) for _ in range(3))

    fake.speech.hook = hold
    result = command(*files, "--parallel", 4)
    assert (result.status, result.errors) == (0, [])
    assert result.out == "".join(
        f"{file}\t{size} bytes\n" for size, file in enumerate(files, start=1)
    )


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_bad_file_does_not_lose_the_others(command, fake, tmp_path, parallel):
    first, bad, last = write(tmp_path, "a.wav", "b.wav", "c.wav")
    bad.unlink()
    result = command(first, bad, last, "--parallel", parallel, "--format", "json")
    assert result.status == 2
    records = [json.loads(line) for line in result.out.splitlines()]
    assert [record.get("text") for record in records] == ["1 bytes", None, "3 bytes"]
    assert records[1]["error"].startswith("the file cannot be read")
    assert result.errors[0].startswith(f"asr-client: error: {bad}: the file cannot be read")
    assert result.errors[1] == "asr-client: error: 1 of 3 files could not be transcribed"


@pytest.mark.parametrize("parallel", ["1", "3"])
def test_an_interrupted_command_ends_with_130(fake, gate, tmp_path, parallel):
    files = write(tmp_path, "a.wav", "b.wav", "c.wav", "d.wav")
    reached = threading.Semaphore(0)

    def hold(_: bytes) -> None:
        reached.release()
        gate.wait(30)

    fake.speech.hook = hold
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "server.client_cli.main", *map(str, files)),
            *("--address", fake.address, "--parallel", parallel),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    for _ in range(int(parallel)):
        assert reached.acquire(timeout=60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_progress_is_for_terminals_and_on_stderr(command, tmp_path, monkeypatch):
    files = write(tmp_path, "a.wav", "b.wav")
    assert command(*files).errors == []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    result = command(*files)
    assert "\x1b" not in result.out
    shown = "\n".join(result.errors)
    assert f"1/2 {files[0]}"[:40] in shown
    assert shown.endswith("\n\x1b[K"), "wiped at the end"


@pytest.mark.parametrize("text", ["0", "257", "-1", "two"])
def test_parallel_is_a_number(text, capsys):
    with pytest.raises(SystemExit):
        main(["a.wav", "--parallel", text])
    assert "--parallel" in capsys.readouterr().err


# Subtitles


def test_subtitles_of_several_files_are_written_to_a_folder(command, tmp_path):
    write(tmp_path, "in/a.wav", "in/b/a.wav")
    for form in ("srt", "vtt"):
        result = command(tmp_path / "in", "--format", form, "--output", tmp_path / "out")
        assert (result.status, result.out, result.errors) == (0, "", [])
        assert "1 bytes" in (tmp_path / "out" / f"a.{form}").read_text()
        assert "2 bytes" in (tmp_path / "out" / "b" / f"a.{form}").read_text()


def test_subtitles_of_several_files_need_places(command, tmp_path):
    files = write(tmp_path, "a.wav", "b/a.wav")
    assert "--output FOLDER" in command(*files, "--format", "srt").errors[0]
    result = command(*files, "--format", "vtt", "--output", tmp_path / "out")
    assert "both write a.vtt" in result.errors[0]


def test_subtitles_of_one_file_are_printed(command, tmp_path):
    (file,) = write(tmp_path, "a.wav")
    srt = command(file, "--format", "srt").out
    assert srt == "1\n00:00:00,125 --> 00:00:01,000\n1 bytes\n\n"
    vtt = command(file, "--format", "vtt").out
    assert vtt == "WEBVTT\n\n00:00:00.125 --> 00:00:01.000\n1 bytes\n\n"


# Outputs


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_a_recording_is_not_written_over(command, tmp_path, link):
    recording, other = write(tmp_path, "a.wav", "b.wav")
    output = recording
    if link is not None:
        output = tmp_path / "link"
        link(recording, output)
    before = recording.read_bytes()
    for form in ("text", "json", "ctm"):
        result = command(recording, other, "--format", form, "--output", output)
        assert result.status == 2
        assert "which is read" in result.errors[0]
    assert recording.read_bytes() == before
    assert command(recording, "--format", "srt", "--output", output).status == 2
    assert recording.read_bytes() == before


def test_a_token_is_not_written_over(command, tmp_path):
    (recording,) = write(tmp_path, "a.wav")
    token = tmp_path / "token"
    token.write_text("a-token-of-some-length")
    assert command(recording, "--token-file", token, "--output", token).status == 2
    assert token.read_text() == "a-token-of-some-length"


def test_a_failed_call_leaves_an_older_result(command, tmp_path):
    old = tmp_path / "old"
    old.write_text("old")
    for form in ("text", "json", "srt"):
        result = command(tmp_path / "none.wav", "--format", form, "--output", old)
        assert result.status == 2
        assert old.read_text() == "old"
    assert os.listdir(tmp_path) == ["old"]


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_that_cannot_be_written_lose_no_other(fake, tmp_path, encoding):
    latin = os.fsdecode("mü.wav".encode("latin-1"))
    paths = write(tmp_path, latin, "ü→.wav", "b.wav")
    command = (sys.executable, "-m", "server.client_cli.main", "--address", fake.address)
    done = subprocess.run(
        [*command, *map(str, paths)],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        cwd=ROOT,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    lines = [line.split("\t") for line in done.stdout.decode(encoding).splitlines()]
    names = ["m?.wav", "??.wav" if encoding == "ascii" else "ü→.wav", "b.wav"]
    assert [(Path(path).name, text) for path, text in lines] == [
        (name, f"{size} bytes") for size, name in enumerate(names, start=1)
    ]
