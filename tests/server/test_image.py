"""The server's image as people run it: `make image-test` builds it first.

The containers have a read-only root, no capabilities and bounded memory, as docs/docker.md shows.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from asr.audio import decode_audio
from asr.bundle.shipped import shipped_bundle

pytestmark = [pytest.mark.image, pytest.mark.timeout(180)]

DOCKER = os.environ.get("DOCKER", "docker")
IMAGE = os.environ.get("IMAGE", "peephole-asr")
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--memory", "2g", "--pids-limit", "512"),
)
GRACE = 30


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DOCKER, *arguments], capture_output=True, text=True, check=False)


def must(*arguments: str) -> str:
    done = docker(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def inspect(thing: str, template: str) -> str:
    return must("inspect", "--format", template, thing)


def wait_until_healthy(container: str) -> None:
    """Block on the engine's own events: the first verdict of the image's health check."""
    command = [DOCKER, "events", "--since", "0", "--format", "{{.Action}}"]
    command += ["--filter", f"container={container}", "--filter", "event=health_status"]
    command += ["--filter", "event=die"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        verdict = events.stdout.readline().strip()
        events.kill()
    assert verdict == "health_status: healthy", docker("logs", container).stderr


@pytest.fixture(scope="module")
def bundle(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Readable by everyone, since the image's user is not the one who runs the tests."""
    copy = tmp_path_factory.mktemp("image") / "default"
    shutil.copytree(bundle_path, copy)
    copy.chmod(0o755)
    for file in copy.iterdir():
        file.chmod(0o644)
    return copy


@pytest.fixture(scope="module")
def audio(
    samples_of: Callable[..., object],
    file_of: Callable[..., bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    path = tmp_path_factory.mktemp("audio") / "tones.flac"
    path.write_bytes(file_of(samples_of(7, 1.5), 16_000, "FLAC", "PCM_16"))
    path.parent.chmod(0o755)
    path.chmod(0o644)
    return path


@pytest.fixture(scope="module")
def running(bundle: Path) -> Iterator[SimpleNamespace]:
    """The server on a free port of this machine, its metrics on another."""
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        port, metrics = (free.getsockname()[1] for free in (one, other))
    started = time.monotonic()
    container = must(
        *("run", "--detach", *HARDENED, "--network", "host", "--health-interval", "1s"),
        *("--volume", f"{bundle}:/models/default:ro"),
        *("--env", f"ASR_PROBE=--address 127.0.0.1:{port}", IMAGE),
        *("--model", "/models/default", "--host", "127.0.0.1", "--port", str(port)),
        *("--metrics-port", str(metrics), "--grace-seconds", str(GRACE)),
    )
    try:
        wait_until_healthy(container)
        print(f"\nhealthy {time.monotonic() - started:.1f} s after `docker run`")
        yield SimpleNamespace(name=container, address=f"127.0.0.1:{port}", metrics=metrics)
    finally:
        docker("rm", "--force", container)


def test_the_server_transcribes_for_a_client_outside(running, audio, recognizer):
    client = Path(sys.executable).with_name("asr-client")
    command = [str(client), str(audio), "--address", running.address]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (expected,) = recognizer.recognize([decode_audio(audio.read_bytes())])
    assert (done.returncode, done.stdout) == (0, expected.text + "\n"), done.stderr
    assert expected.text


def test_it_has_no_rights(running):
    assert must("exec", running.name, "id", "-u") == "10001"
    status = must("exec", running.name, "cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for capabilities in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[capabilities], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    for folder in ("/", "/opt/asr", "/models"):
        assert docker("exec", running.name, "touch", f"{folder}/stray").returncode != 0


def test_sigterm_ends_it_in_time_with_status_0(running):
    """The last test that uses the container."""
    started = time.monotonic()
    must("stop", "--time", str(GRACE), running.name)
    elapsed = time.monotonic() - started
    state = json.loads(inspect(running.name, "{{json .State}}"))
    log = docker("logs", running.name).stderr
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False), log
    assert elapsed < GRACE
    assert "draining" in log
    assert "Traceback" not in log
    print(f"\nstopped in {elapsed:.1f} s")


def test_docker_run_without_arguments_serves_the_default_model(bundle, audio, recognizer):
    """What `docker run -p 50051:50051` starts, without a network here: called from inside."""
    volumes = ("--volume", f"{bundle}:/models/default:ro", "--volume", f"{audio.parent}:/audio:ro")
    container = must(
        "run", "--detach", "--network", "none", "--health-interval", "1s", *volumes, IMAGE
    )
    try:
        wait_until_healthy(container)
        text = must("exec", container, "asr-client", f"/audio/{audio.name}")
        (expected,) = recognizer.recognize([decode_audio(audio.read_bytes())])
        assert text == expected.text
        page = (
            "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9464/metrics').read())"
        )
        assert "asr_calls_total" in must("exec", container, "python", "-c", page)
    finally:
        docker("rm", "--force", container)


def test_a_bundle_that_is_not_there_is_said_in_one_line_and_ends_with_2():
    options = ("--insecure", "--model", "/models/none")
    done = docker("run", "--rm", *HARDENED, "--network", "none", IMAGE, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.splitlines()
    assert last.startswith("asr-server: error: /models/none")


def test_without_a_bundle_it_serves_the_model_that_ships():
    samples = shipped_bundle() / "samples"
    volumes = ("--volume", f"{samples}:/audio:ro")
    container = must("run", "--detach", "--network", "none", *HARDENED, *volumes, IMAGE)
    try:
        wait_until_healthy(container)
        [name, _] = (samples / "samples.tsv").read_text().splitlines()[0].split("\t")
        assert must("exec", container, "asr-client", f"/audio/{name}")
    finally:
        docker("rm", "--force", container)


def inside(script: str) -> str:
    return must("run", "--rm", "--network", "none", "--entrypoint", "sh", IMAGE, "-c", script)


@pytest.mark.parametrize("module", ["pytorch_lightning", "lhotse", "tensorboard", "pytest", "mypy"])
def test_what_trains_and_tests_is_not_in_it(module):
    found = f"from importlib.util import find_spec; print(find_spec({module!r}))"
    assert inside(f'python -c "{found}"') == "None"


def test_no_compiler_and_no_cache_is_in_it():
    assert inside("command -v cc gcc g++ c++ clang ld make || true") == ""
    assert inside("ls /root/.cache /var/lib/apt/lists/*_Packages* /src 2>/dev/null || true") == ""
    assert inside("test -e /opt/asr/bin/pip || echo none") == "none"


def test_the_kernel_for_cpu_is_compiled():
    assert (
        inside('python -c "from asr.nn.kernels.library import MISSING; print(MISSING)"') == "None"
    )


def test_its_metadata(capsys):
    config = json.loads(inspect(IMAGE, "{{json .Config}}"))
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "server.probe"]
    labels = {k.removeprefix("org.opencontainers.image."): v for k, v in config["Labels"].items()}
    assert labels["title"] == "peephole-asr"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"]


def test_its_size_is_told():
    total, ours = int(inspect(IMAGE, "{{.Size}}")), inside("du -sm /opt/asr").split()[0]
    largest = inside("du -sm /opt/asr/lib/python3*/site-packages/* | sort -rn | head -8")
    print(f"\nthe image: {total / 1e6:.0f} MB; /opt/asr {ours} MiB, its largest parts in MiB:")
    for line in largest.splitlines():
        size, path = line.split()
        print(f"{size:>6} {Path(path).name}")
    assert int(ours) < 1500, "something large has come in"
