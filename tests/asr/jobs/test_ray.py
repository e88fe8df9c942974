"""Workers of Ray: each recording has one result, though a worker is killed."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from asr.audio import read_audio, write_wav
from asr.cli.main import main
from asr.jobs import ray as engine
from asr.types import AudioError

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra `ray` is not installed"),
    pytest.mark.slow,  # Ray starts a dozen processes
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("default"),  # Ray's own
]


# 127.0.0.1, ::1 and ::ffff:127.0.0.1, as the kernel's tables have them.
LOOPBACK = {"0100007F", f"{1 << 24:032X}", "0000000000000000FFFF00000100007F"}


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Workers cannot import a test's module: they are sent what is in it."""
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # read when Ray is imported
    monkeypatch.setenv("RAY_worker_niceness", "0")  # beside other tests they would starve
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")  # others' memory is no matter here
    ray = importlib.import_module("ray")
    module = sys.modules[__name__]
    ray.cloudpickle.register_pickle_by_value(module)
    yield
    ray.cloudpickle.unregister_pickle_by_value(module)


class Deadly:
    """A worker's part that ends at some files, once or always, and notes its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, files):
        (self.folder / f"pid-{os.getpid()}").touch()
        for index, file in enumerate(files):
            mark = self.folder / "killed"
            if file == "always" or (file == "once" and not mark.exists()):
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield index, AudioError(file)


def listeners(pids: set[int]) -> set[str]:
    """Addresses, as in /proc/net/tcp, at which these processes listen."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(os.readlink(link))
            except OSError:
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.add(fields[1].rpartition(":")[0])
    return found


def descendants(pid: int) -> set[int]:
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = set(), [pid]
    while todo:
        more = children.get(todo.pop(), [])
        found.update(more)
        todo += more
    return found


def test_files_at_which_workers_end_keep_no_other_and_ray_listens_on_loopback_alone(tmp_path):
    files = [f"file {index}" for index in range(30)]
    files[13], files[21] = "once", "always"
    outcomes, addresses = [], set()
    for index, outcome in engine.transcribe_by_ray(lambda: Deadly(tmp_path), files, 2):
        outcomes.append((index, outcome.what))
        addresses |= listeners(descendants(os.getpid()))
    assert sorted(index for index, _ in outcomes) == list(range(30))
    said = dict(outcomes)
    assert "the worker ended 3 times" in said.pop(21)
    assert said == {index: files[index] for index in said}
    assert len(list(tmp_path.glob("pid-*"))) >= 4  # two, and those that took their places
    assert addresses
    assert addresses <= LOOPBACK


def test_a_job_by_ray_gives_each_file_one_result(
    tmp_path, capsys, waveform_of, tiny_bundle_path, tiny_recognizer
):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for index in range(12):
        write_wav(corpus / f"u{index}.wav", waveform_of(index, 0.3))
    out = tmp_path / "out"
    command = ["transcribe", str(tiny_bundle_path), str(corpus), "--job", str(out)]
    command += ["--engine", "ray", "--workers", "2"]
    assert main(command) == 0
    for file in corpus.iterdir():
        expected = tiny_recognizer.recognize([read_audio(file)])[0].text
        assert (out / f"{file.stem}.txt").read_text() == expected + "\n"
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()[1:]]
    assert sorted(Path(line["file"]).name for line in lines) == sorted(
        file.name for file in corpus.iterdir()
    )
    assert main(command) == 0
    assert "12 of 12 files are done" in capsys.readouterr().err
