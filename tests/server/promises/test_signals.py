"""A signal at any moment of a server's life does what it says, also to the first process of a
container, which the kernel spares every signal that it does not listen to."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.timed

ROOT = Path(__file__).resolve().parents[3]
CONTAINER = ("unshare", "--pid", "--fork", "--map-root-user", "--kill-child")
ENTRY = ("env", "--block-signal=HUP,INT,TERM")  # as the image's entry point
SERVER = (sys.executable, "-m", "server.main")
SECONDS = 60


def is_permitted(command: Sequence[str]) -> bool:
    try:
        return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


class Started:
    """A command under observation; ``pid`` is its own, not that of what started it."""

    def __init__(self, command: Sequence[str], contained: bool) -> None:
        self.process = subprocess.Popen(
            [*(CONTAINER if contained else ()), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self.pid = self.process.pid
        if contained:
            self.until(lambda: children(self.process.pid))
            [self.pid] = children(self.process.pid)

    def until(self, arrived: Callable[[], object]) -> None:
        end = time.monotonic() + SECONDS
        while not arrived():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, "it never came"
            time.sleep(0.001)

    def signals(self, kind: str) -> int:
        """The mask of ``SigCgt``, ``SigBlk``, ..."""
        rows = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(row.split()[1] for row in rows if row.startswith(kind)), 16)

    def name(self) -> str:
        return Path(f"/proc/{self.pid}/comm").read_text().strip()

    def has_imported(self, library: str) -> bool:
        return library in Path(f"/proc/{self.pid}/maps").read_text()

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def read_log(self, words: str) -> None:
        """Up to the line with ``words``."""
        assert self.process.stderr is not None
        while words not in (line := self.process.stderr.readline()):
            assert line, f"it ended without {words!r}"

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out, err


@pytest.fixture
def begin() -> Iterator[Callable[..., Started]]:
    started: list[Started] = []

    def start(*command: str, contained: bool = False) -> Started:
        if contained and not is_permitted(CONTAINER):
            pytest.skip("this machine does not let its users begin a namespace of processes")
        started.append(Started(command, contained))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sorted(int(child) for task in tasks for child in (task / "children").read_text().split())


def bit(number: int) -> int:
    return 1 << (number - 1)


# Before the handlers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_the_first_moment_of_a_container_is_not_lost(begin, bundle_path, number):
    """The entry point keeps it until Python listens."""
    if not is_permitted(ENTRY):
        pytest.skip("this env cannot block signals")
    started = begin(*ENTRY, *SERVER, "--model", str(bundle_path), "--port", "0", contained=True)
    started.until(lambda: started.name() != "unshare" and started.signals("SigBlk") & bit(number))
    started.send(number)
    assert started.end() == (0, "", "")


# While it starts


@pytest.mark.parametrize("contained", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_listens_before_it_imports_what_is_slow(begin, bundle_path, number, contained):
    command = [*SERVER, "--model", str(bundle_path), "--port", "0"]
    started = begin(*command, contained=contained)
    # Python itself catches SIGINT; SIGHUP is caught by nobody but us.
    started.until(lambda: started.signals("SigCgt") & bit(signal.SIGHUP))
    assert not started.has_imported("libtorch")
    started.send(number)
    assert started.end() == (0, "", "")


@pytest.mark.parametrize("contained", [False, True])
def test_a_stop_while_it_imports_ends_it(begin, bundle_path, contained):
    started = begin(*SERVER, "--model", str(bundle_path), "--port", "0", contained=contained)
    started.until(lambda: started.has_imported("libtorch"))
    started.send(signal.SIGTERM)
    assert started.end() == (0, "", "")


LOADING = """
import ctypes, sys
from asr.recognizer import Recognizer
from server.main import main
load = Recognizer.load
def slowly(*given, **more):
    print("loading", flush=True)
    if sys.argv.pop() == "for ever":
        ctypes.CDLL(None).sleep(1000)  # native code: nothing in Python ends it
    sys.stdin.readline()
    return load(*given, **more)
Recognizer.load = slowly
sys.exit(main(sys.argv[1:-1]))
"""


@pytest.mark.parametrize(("number", "contained"), [(signal.SIGTERM, True), (signal.SIGINT, False)])
def test_a_stop_does_not_wait_for_a_model_that_is_being_loaded(
    begin, bundle_path, number, contained
):
    command = [sys.executable, "-c", LOADING, "--model", str(bundle_path), "--port", "0"]
    started = begin(*command, "for ever", contained=contained)
    assert started.read_line() == "loading\n"
    started.send(number)
    status, out, err = started.end()
    assert (status, out) == (0, "")
    assert "Traceback" not in err


def test_a_stop_of_the_whole_group_is_no_failure_of_the_audio_workers(begin, bundle_path):
    """As Ctrl-C in a terminal, in the moment in which the first of them is there."""
    started = begin(*SERVER, "--model", str(bundle_path), "--port", "0")
    started.until(lambda: children(started.pid))
    os.killpg(started.process.pid, signal.SIGINT)
    status, out, err = started.end()
    assert (status, out) == (0, "")
    assert "error" not in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("moment", "contained"), [("SigCgt", True), ("libtorch", False)])
def test_a_reload_while_it_starts_is_done_when_it_serves(begin, bundle_path, moment, contained):
    started = begin(*SERVER, "--model", str(bundle_path), "--port", "0", contained=contained)
    if moment == "SigCgt":
        started.until(lambda: started.signals("SigCgt") & bit(signal.SIGHUP))
    else:
        started.until(lambda: started.has_imported("libtorch"))
    started.send(signal.SIGHUP)
    assert started.read_line().startswith("listening on")
    started.read_log("models reloaded: nothing changed")
    started.send(signal.SIGTERM)
    assert started.end()[0] == 0


# While it serves


def test_a_hangup_of_the_whole_group_reloads_and_ends_no_audio_worker(begin, bundle_path):
    started = begin(*SERVER, "--model", str(bundle_path), "--port", "0")
    assert started.read_line().startswith("listening on")
    workers = children(started.pid)
    assert workers
    os.killpg(started.process.pid, signal.SIGHUP)
    started.read_log("models reloaded: nothing changed")
    assert children(started.pid) == workers
    started.send(signal.SIGTERM)
    status, _, err = started.end()
    assert status == 0
    assert "audio worker" not in err


def test_signals_that_another_thread_gets_are_not_left_until_something_else_happens(
    begin, bundle_path
):
    """The main thread sleeps meanwhile, and may not be woken by the kernel. So it is with a signal
    in the moment before it falls asleep, which no test can choose."""
    started = begin(*SERVER, "--model", str(bundle_path), "--port", "0")
    assert started.read_line().startswith("listening on")
    tgkill = ctypes.CDLL(None).tgkill
    other = max(int(task) for task in os.listdir(f"/proc/{started.pid}/task"))
    assert other != started.pid
    begun = time.monotonic()
    for _ in range(10):
        assert tgkill(started.pid, other, signal.SIGHUP) == 0
        started.read_log("models reloaded: nothing changed")
    assert tgkill(started.pid, other, signal.SIGTERM) == 0
    status, _, err = started.end()
    assert status == 0, err
    assert time.monotonic() - begun < 5, "it looks every ten seconds by itself"


STUCK = """
import sys
from server import lifecycle
from server.main import main
async def never(*given):
    print("draining", flush=True)
    await lifecycle.asyncio.Event().wait()
lifecycle._drain = never
sys.exit(main())
"""


@pytest.mark.parametrize(("number", "contained"), [(signal.SIGTERM, True), (signal.SIGINT, False)])
def test_a_second_stop_ends_it_at_once(begin, bundle_path, number, contained):
    command = [sys.executable, "-c", STUCK, "--model", str(bundle_path), "--port", "0"]
    started = begin(*command, contained=contained)
    assert started.read_line().startswith("listening on")
    started.send(number)
    assert started.read_line() == "draining\n"
    started.send(number)
    status, _, err = started.end()
    assert status in (-number, 128 + number)
    assert "Traceback" not in err


# The client


def test_the_client_is_interrupted_without_a_traceback_while_it_starts(begin):
    """It reads from a terminal, so to say: what it imports is interrupted, or its reading is."""
    started = begin(sys.executable, "-m", "server.client_cli.main", "-")
    started.until(lambda: started.has_imported("cygrpc"))
    started.send(signal.SIGINT)
    status, out, err = started.end()
    assert status in (-signal.SIGINT, 130)
    assert (out, err) == ("", "")
