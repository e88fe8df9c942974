"""The server under load, beside `asr transcribe` on the same files: ``make load``.

Prints Markdown and draws a figure. Each concurrency is a closed loop: so many clients, each sending
its next file when the last was answered. Client, server and the peer share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import torch

from asr.machine import describe_machine
from benchmarks.soak import children
from benchmarks.timing import note
from server.pb.v1.speech_pb2 import TranscribeRequest
from server.pb.v1.speech_pb2_grpc import SpeechStub

SUFFIXES = (".wav", ".flac", ".ogg", ".opus")
PEER_CONCURRENCY = 16


@dataclass(frozen=True)
class Load:
    """What a closed loop saw: seconds of each call, of all, of their audio, and of processors.

    ``processor_seconds`` are those of the server and its processes, ``client_seconds`` those of all
    clients.
    """

    latencies: list[float]
    seconds: float
    audio_seconds: float
    processor_seconds: float
    client_seconds: float
    batch_size: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.latencies) / self.seconds

    @property
    def real_time(self) -> float:
        """Seconds of audio a second."""
        return self.audio_seconds / self.seconds

    @property
    def cost(self) -> float:
        """Milliseconds of processor time a call in the server."""
        return 1e3 * self.processor_seconds / len(self.latencies)

    @property
    def client_cost(self) -> float:
        """Milliseconds of processor time a call in the client."""
        return 1e3 * self.client_seconds / len(self.latencies)

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        return 1e3 * float(np.percentile(self.latencies, share))


@dataclass(frozen=True)
class Server:
    """A running server."""

    pid: int
    address: str
    metrics_port: int = 0  # of this machine; 0: it has none

    def processor_seconds(self) -> float:
        """Seconds that it and its processes have computed so far."""
        ticks = 0
        for pid in (self.pid, *children(self.pid)):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # in user and in system mode
        return ticks / os.sysconf("SC_CLK_TCK")

    def batches(self, name: str = "asr_batch_size") -> tuple[float, float]:
        """How many calls went through batches so far, and how many batches there were.

        ``name`` is the metric of their sizes.
        """
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer:
            text = answer.read().decode()
        values = (
            re.search(rf"^{name}_{kind} (\S+)$", text, re.MULTILINE) for kind in ("sum", "count")
        )
        total, count = (float(found.group(1)) if found else 0.0 for found in values)
        return total, count


def main() -> None:
    """Measure, print, draw."""
    options = _parser().parse_args()
    files = find_audio(options.audio, options.files)
    print(f"{describe_machine(torch.device('cpu'))}. {len(files)} files of {options.audio}.\n")
    with running_server(options.bundle, options.server_option) as server:
        loads = {}
        for concurrency in options.concurrency:
            note(f"{concurrency} clients")
            loads[concurrency] = asyncio.run(closed_loop(server, files, concurrency))
        print_loads(loads)
        print_peer(server, options.bundle, files, options.rounds)
    if options.figure is not None:
        draw(loads, options.figure)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.serving")
    add = parser.add_argument
    add("--bundle", default="exp/demo/bundle", help="(default: %(default)s)")
    add("--audio", default="exp/demo/corpus", help="folder of audio (default: %(default)s)")
    add("--files", type=int, default=400, help="files at most (default: %(default)s)")
    add(
        "--concurrency",
        type=int,
        nargs="+",
        default=[1, 2, 4, 8, 16, 32, 64, 128],
        help="clients (default: %(default)s)",
    )
    add("--rounds", type=int, default=3, help="beside the peer (default: %(default)s)")
    add("--figure", type=Path, metavar="PNG", help="picture to write")
    add("--server-option", action="append", default=[], help="passed on, e.g. --running=64")
    return parser


def find_audio(folder: str, most: int) -> list[Path]:
    """Files evenly spaced over all audio below ``folder``, in the order of their names."""
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix in SUFFIXES)
    if not found:
        raise SystemExit(f"no audio below {folder}: run `make demo` first, or name another folder")
    return found[:: max(1, len(found) // most)][:most]


@contextmanager
def running_server(bundle: str, arguments: Sequence[str]) -> Iterator[Server]:
    """An ``asr-server`` process."""
    command = [sys.executable, "-m", "server.main", "--model", bundle, "--port", "0"]
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        metrics_port = trial.getsockname()[1]
    command += ["--metrics-port", str(metrics_port), "--log-level", "warning", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise SystemExit("the server did not start")
        yield Server(process.pid, line.split()[-1], metrics_port)
    finally:
        process.terminate()
        process.communicate(timeout=60)


async def closed_loop(server: Server, files: Sequence[Path], concurrency: int) -> Load:
    """Every file once (and as often as it takes to keep all clients busy a while)."""
    requests = [TranscribeRequest(audio=path.read_bytes()) for path in files]
    requests *= max(1, 4 * concurrency // len(requests))
    waiting, latencies, audio = iter(requests), [], 0.0
    async with grpc.aio.insecure_channel(
        server.address, [("grpc.enable_http_proxy", 0)]
    ) as channel:
        stub = SpeechStub(channel)
        await stub.Transcribe(requests[0], timeout=60)
        before, spent = server.batches(), server.processor_seconds()
        own, begun = time.process_time(), time.perf_counter()

        async def client() -> None:
            nonlocal audio
            for request in waiting:
                sent = time.perf_counter()
                response = await stub.Transcribe(request, timeout=300)
                latencies.append(time.perf_counter() - sent)
                audio += response.results[0].result_end_time.ToNanoseconds() / 1e9

        await asyncio.gather(*(client() for _ in range(concurrency)))
        seconds = time.perf_counter() - begun
        spent, own = server.processor_seconds() - spent, time.process_time() - own
    calls, count = (after - prior for after, prior in zip(server.batches(), before, strict=True))
    return Load(latencies, seconds, audio, spent, own, calls / count)


def print_loads(loads: dict[int, Load]) -> None:
    """The table of concurrency."""
    head = ["clients", "calls/s", "times real time", "p50 ms", "p90 ms", "p99 ms"]
    head += ["calls a batch", "processor ms a call", "of the client"]
    for cells in (head, ["---"] * len(head)):
        print("| " + " | ".join(cells) + " |")
    for concurrency, load in loads.items():
        cells = [f"{load.rate:.1f}", f"{load.real_time:.0f}"]
        cells += [f"{load.percentile(share):.0f}" for share in (50, 90, 99)]
        cells += [f"{load.batch_size:.1f}", f"{load.cost:.1f}", f"{load.client_cost:.1f}"]
        print(f"| {concurrency} | " + " | ".join(cells) + " |")
    print(flush=True)


# Beside the peer

OFFLINE = """
import sys, time
from asr.recognizer import Recognizer
from asr.transcribe import transcribe_files
from asr.types import AsrError
recognizer, files = Recognizer.load(sys.argv[1]), sys.argv[2:]
list(transcribe_files(recognizer, files[:8]))
started, spent = time.perf_counter(), time.process_time()
outcomes = list(transcribe_files(recognizer, files))
print(time.perf_counter() - started)
print(time.process_time() - spent)
"""

ALONE = """
import sys, time
from asr.audio import read_audio
from asr.recognizer import Recognizer
recognizer, files = Recognizer.load(sys.argv[1]), sys.argv[2:]
recognizer.recognize([read_audio(files[0])])
for file in files:
    started = time.perf_counter()
    recognizer.recognize([read_audio(file)])
    print(time.perf_counter() - started)
"""


def print_peer(server: Server, bundle: str, files: Sequence[Path], rounds: int) -> None:
    """Throughput beside `asr transcribe`, latency beside the recogniser in the caller's process."""
    names = [str(path) for path in files]
    ratios, added = [], []
    for number in range(rounds):
        note(f"round {number + 1} of {rounds} beside the peer")
        seconds, spent = python(OFFLINE, bundle, *names)
        offline = len(files) / seconds
        load = asyncio.run(closed_loop(server, files, PEER_CONCURRENCY))
        loaded = load.rate
        ratios.append(loaded / offline)
        alone = python(ALONE, bundle, *names)
        called = asyncio.run(closed_loop(server, files, 1)).latencies
        added.append(1e3 * statistics.median(c - a for c, a in zip(called, alone, strict=True)))
        print(
            f"Round {number + 1}: `asr transcribe` {offline:.1f} files/s, {PEER_CONCURRENCY} "
            f"clients {loaded:.1f} calls/s, ratio {ratios[-1]:.2f}; processor time: "
            f"{1e3 * spent / len(files):.1f} ms a file, {load.cost:.1f} ms a call and "
            f"{load.client_cost:.1f} ms of its client; one client: a call takes "
            f"{added[-1]:.1f} ms more than the recogniser in one's own process (median).\n"
        )
    print(
        f"Medians: {100 * statistics.median(ratios):.0f} % of the offline rate, "
        f"{statistics.median(added):.1f} ms added."
    )


def python(program: str, *arguments: str) -> list[float]:
    """The numbers that ``program`` prints, a line each."""
    command = [sys.executable, "-c", program, *arguments]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(line) for line in shown.split()]


def draw(loads: dict[int, Load], path: Path) -> None:
    """Throughput and latency by concurrency."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    clients = list(loads)
    left.plot(clients, [load.rate for load in loads.values()], marker="o")
    left.set(xlabel="clients", ylabel="calls a second", xscale="log", ylim=(0, None))
    for share in (50, 90, 99):
        values = [load.percentile(share) for load in loads.values()]
        right.plot(clients, values, marker="o", label=f"{share} %")
    right.set(xlabel="clients", ylabel="milliseconds", xscale="log", yscale="log")
    right.legend(title="of calls below")
    for axes in (left, right):
        axes.set_xticks(clients, [str(count) for count in clients], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
