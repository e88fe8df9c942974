"""Commands whose output cannot be written: one line, the right status, no traceback; and a server
that cannot write its log serves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.client import Client

ROOT = Path(__file__).resolve().parents[2]
SERVER = (sys.executable, "-m", "server.main")
CLIENT = (sys.executable, "-m", "server.client_cli.main")
# With PYTHONUNBUFFERED argparse itself passes over what it cannot write.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
FULL = Path("/dev/full")

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this machine has no full device")


@contextmanager
def unwritable(kind: str) -> Iterator[int]:
    """A descriptor whose disk is full, or whose reader has closed the pipe."""
    if kind == "full":
        descriptor = os.open(FULL, os.O_WRONLY)
    else:
        reader, descriptor = os.pipe()
        os.close(reader)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def lines_of(kind: str, *command: str) -> tuple[int, list[str]]:
    """Status and lines of standard error of a command whose standard output cannot be written."""
    with unwritable(kind) as out:
        done = subprocess.run(
            command,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            timeout=60,
            env=ENVIRONMENT,
            check=False,
        )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(("kind", "option"), [("full", "--help"), ("closed", "--version")])
def test_help_that_cannot_be_written_is_a_failure(kind, option):
    status, errors = lines_of(kind, *SERVER, option)
    assert status == 2
    told = ["asr-server: error: standard output: No space left on device"]
    assert errors == (told if kind == "full" else []), "who closed the pipe has read enough"


@pytest.mark.parametrize(("kind", "why"), [("full", "No space left"), ("closed", "Broken pipe")])
def test_a_server_that_cannot_say_where_it_listens_does_not_start(bundle_path, kind, why):
    options = ("--model", str(bundle_path), "--port", "0", "--log-level", "error")
    status, errors = lines_of(kind, *SERVER, *options)
    assert status == 2
    (line,) = errors
    assert line.startswith("asr-server: error: the address cannot be written to standard output")
    assert why in line


@pytest.mark.parametrize("kind", ["full", "closed"])
def test_a_server_that_cannot_write_its_log_serves(bundle_path, samples_of, file_of, kind):
    with unwritable(kind) as errors:
        process = subprocess.Popen(
            [*SERVER, "--model", str(bundle_path), "--port", "0", "--log-level", "debug"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
        )
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1]
    with Client(address) as client:
        for _ in range(3):
            assert client.transcribe(file_of(samples_of(1, 1.0), 16000, "WAV", "PCM_16")).text
    process.terminate()
    assert process.communicate(timeout=60)[0] == ""
    assert process.returncode == 0


@pytest.mark.parametrize("kind", ["full", "closed"])
def test_a_failed_start_has_its_status_where_nothing_can_be_said(tmp_path, kind):
    with unwritable(kind) as nowhere:
        status = subprocess.run(
            [*SERVER, "--model", str(tmp_path / "none"), "--port", "0"],
            stdout=nowhere,
            stderr=nowhere,
            cwd=ROOT,
            timeout=60,
            check=False,
        ).returncode
    assert status == 2


@pytest.mark.parametrize("arguments", [["--help"], ["--list-models"], ["a.wav", "b.wav"]])
@pytest.mark.parametrize("kind", ["full", "closed"])
def test_what_the_client_cannot_write_is_a_failure(fake, tmp_path, kind, arguments):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"1")
    given = [str(tmp_path / name) if name.endswith(".wav") else name for name in arguments]
    status, errors = lines_of(kind, *CLIENT, *given, "--address", fake.address)
    assert status == 2
    assert len(errors) == (1 if kind == "full" else 0)
    assert all("No space left on device" in line for line in errors)
