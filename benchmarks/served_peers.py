"""Our server beside pocketsphinx and Whisper behind gRPC, on the same utterances and machine.

``python -m benchmarks.served_peers MANIFEST --python PEERS`` starts all servers, and gives each in
turns a share of the utterances by so many clients at a time. It prints calls a second, latencies,
processor time, error rates and peak memory. PEERS is a Python that has the peers and grpcio: see
``docs/performance.md``. Servers and clients share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import numpy as np
import torch
from lhotse.cut import Cut

from asr.audio import resample, write_wav
from asr.bundle.shipped import shipped_bundle
from asr.machine import describe_machine
from asr.scoring import ErrorCounts, word_errors
from asr.types import ConfigError
from benchmarks.peer import RATE
from benchmarks.peers import choose, in_one_form
from benchmarks.serving import Server, running_server
from benchmarks.soak import children
from benchmarks.timing import note
from recipes.common.cli import run_guarded
from recipes.common.manifests import load_samples, read_manifest
from server.pb.v1.speech_pb2 import TranscribeRequest
from server.pb.v1.speech_pb2_grpc import SpeechStub

OURS = "ours"
PEERS = ("pocketsphinx", "whisper")
METHOD = "/benchmarks.Peer/Recognise"
ROOT = Path(__file__).resolve().parents[1]

Ask = Callable[[bytes], Awaitable[str]]


@dataclass(frozen=True)
class Spoken:
    """One utterance: a WAV file, its text in the common form, and its seconds."""

    audio: bytes
    text: str
    seconds: float


@dataclass
class Served:
    """What one server did with all that it was given; seconds, and errors of words."""

    latencies: list[float] = field(default_factory=list)
    rounds: list[float] = field(default_factory=list)  # calls a second
    processor: float = 0.0
    errors: ErrorCounts = field(default_factory=ErrorCounts)
    peak: int = 0  # bytes


@contextmanager
def peer_server(system: str, python: str) -> Iterator[Server]:
    """A peer behind gRPC."""
    python = str(Path(python).absolute()) if os.sep in python else python  # it runs elsewhere
    command = [python, "-m", "benchmarks.peer_server", system, ""]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise ConfigError(
                f"{system} does not start in {python}",
                remedy="are its package and grpcio installed there? docs/performance.md says how",
            )
        yield Server(process.pid, line.split()[-1])
    finally:
        process.kill()
        process.communicate(timeout=60)


def asking(system: str, channel: grpc.aio.Channel) -> Ask:
    """How ``system`` is asked for the text of a WAV file."""
    if system == OURS:
        stub = SpeechStub(channel)

        async def transcribe(audio: bytes) -> str:
            response = await stub.Transcribe(TranscribeRequest(audio=audio), timeout=600)
            return str(response.results[0].alternatives[0].transcript)

        return transcribe
    call: Any = channel.unary_unary(METHOD)

    async def recognise(audio: bytes) -> str:
        return bytes(await call(audio, timeout=600)).decode()

    return recognise


async def serve_round(
    system: str, server: Server, spoken: Sequence[Spoken], clients: int, into: Served
) -> None:
    """Give ``spoken`` to a server by a closed loop of ``clients``; ``into`` gets what it did."""
    waiting, options = iter(spoken), [("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(server.address, options) as channel:
        ask = asking(system, channel)
        await ask(spoken[0].audio)
        spent, begun = server.processor_seconds(), time.perf_counter()

        async def client() -> None:
            for one in waiting:
                sent = time.perf_counter()
                text = await ask(one.audio)
                into.latencies.append(time.perf_counter() - sent)
                into.errors += word_errors(one.text, in_one_form(text))

        await asyncio.gather(*(client() for _ in range(clients)))
        into.rounds.append(len(spoken) / (time.perf_counter() - begun))
        into.processor += server.processor_seconds() - spent
    into.peak = sum(_peak(pid) for pid in (server.pid, *children(server.pid)))


def _peak(pid: int) -> int:
    """Bytes that a process held at its most."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def spoken_of(cuts: Sequence[Cut]) -> list[Spoken]:
    """The utterances as files of 16-bit samples, which every server reads."""
    found = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "one.wav"
        for cut in cuts:
            write_wav(path, resample(load_samples(cut), RATE))
            text = in_one_form(cut.supervisions[0].text or "")
            found.append(Spoken(path.read_bytes(), text, cut.duration))
    return found


def measure(arguments: argparse.Namespace, spoken: Sequence[Spoken]) -> dict[str, Served]:
    """Every server's share of every round, in turns."""
    served = {system: Served() for system in arguments.systems}
    with ExitStack() as stack:
        servers = {
            system: stack.enter_context(
                running_server(arguments.bundle, [])
                if system == OURS
                else peer_server(system, arguments.python)
            )
            for system in served
        }
        for number in range(arguments.rounds):
            share = spoken[number :: arguments.rounds]
            for system, server in servers.items():
                note(f"round {number + 1} of {arguments.rounds}: {system}")
                asyncio.run(serve_round(system, server, share, arguments.clients, served[system]))
    return served


def table(served: dict[str, Served], spoken: Sequence[Spoken]) -> str:
    """What each did, in Markdown; ratios are to the first, by the median of the rounds' own."""
    lines = [
        "| server | calls/s | ratio | p50 ms | p95 ms | processor ms a call "
        "| times real time a core | WER % | peak memory |",
        f"|{'---|' * 9}",
    ]
    seconds = sum(one.seconds for one in spoken)
    first = next(iter(served.values()))
    for name, one in served.items():
        ratio = median(a / b for a, b in zip(one.rounds, first.rounds, strict=True))
        halves = [1e3 * float(np.percentile(one.latencies, share)) for share in (50, 95)]
        cells = [name, f"{median(one.rounds):.2f}", f"{ratio:.3g}"]
        cells += [f"{value:.0f}" for value in halves]
        speed = f"{seconds / one.processor:.0f}" if one.processor else "too fast to tell"
        cells += [f"{1e3 * one.processor / len(spoken):.0f}", speed]
        cells += [f"{100 * one.errors.rate:.2f}", f"{one.peak / 1e6:.0f} MB"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.served_peers")
    add = parser.add_argument
    add("manifest", type=Path, help="a split that `prepare` wrote")
    add("--python", default=sys.executable, help="of the peers' environment")
    add("--bundle", default=str(shipped_bundle()), help="(default: the model that ships)")
    add("--systems", nargs="+", choices=(OURS, *PEERS), default=[OURS, *PEERS])
    add("--clients", type=int, default=4, help="(default: %(default)s)")
    add("--rounds", type=int, default=5, help="shares of the utterances (default: %(default)s)")
    add("--limit", type=int, metavar="N", help="so many of the utterances")
    arguments = parser.parse_args(argv)
    spoken = spoken_of(choose(list(read_manifest(arguments.manifest)), arguments.limit))
    served = measure(arguments, spoken)
    minutes = sum(one.seconds for one in spoken) / 60
    print(f"{describe_machine(torch.device('cpu'))}. {len(spoken)} utterances, {minutes:.1f} min;")
    print(f"{arguments.clients} clients, {arguments.rounds} rounds in turns.\n")
    print(table(served, spoken))


if __name__ == "__main__":
    sys.exit(run_guarded(main))
