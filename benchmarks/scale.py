"""What an audio hour costs, and how many servers a load needs: ``docs/scale.md`` tells the rest.

    python -m benchmarks.scale                 # costs, and five fleets under the load of a morning
    python -m benchmarks.scale --check         # the simulation beside a real server

``--check`` takes the seconds of each file from one client, and the most calls a second from 16.
Then the simulated and the real server get the same calls at the same times.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import torch

from asr.bundle.shipped import read_samples, shipped_bundle
from asr.machine import describe_machine
from benchmarks.queueing import Autoscaler, Call, Capacity, Outcome, poisson, simulate
from benchmarks.serving import Server, closed_loop, find_audio, running_server
from benchmarks.timing import note
from server.pb.v1.speech_pb2 import TranscribeRequest
from server.pb.v1.speech_pb2_grpc import SpeechStub

LOADS = (0.5, 0.8, 1.0, 1.5, 5.0)
MINUTE = 60.0


def main(argv: Sequence[str] | None = None) -> None:
    """Print what is asked for."""
    options = _parser().parse_args(argv)
    if options.check:
        check(options)
        return
    print(costs(options.real_time, options.memory, options.price, options.cores))
    print()
    print(fleets(options.seconds_a_call / options.real_time, options.price, options.cores))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.scale")
    add = parser.add_argument
    add(
        "--real-time",
        type=float,
        default=130,
        help="audio a core does a second (default: %(default)s)",
    )
    add("--memory", type=float, default=0.8, help="gigabytes of a server (default: %(default)s)")
    add("--price", type=float, default=0.045, help="of a core for an hour (default: %(default)s)")
    add("--cores", type=int, default=2, help="of a server (default: %(default)s)")
    add("--seconds-a-call", type=float, default=10, help="of audio (default: %(default)s)")
    group = parser.add_argument_group("beside a real server")
    add = group.add_argument
    add("--check", action="store_true", help="measure instead")
    add("--bundle", default=str(shipped_bundle()), help="(default: the model that ships)")
    add("--audio", metavar="FOLDER", help="(default: the samples of the model that ships)")
    add("--running", type=int, default=8, help="of the server (default: %(default)s)")
    add("--waiting", type=int, default=8, help="of the server (default: %(default)s)")
    add("--seconds", type=float, default=20, help="at each load (default: %(default)s)")
    add("--rounds", type=int, default=1, help="of all loads (default: %(default)s)")
    return parser


# On paper


def costs(real_time: float, memory: float, price: float, cores: int) -> str:
    """A table of an audio hour's costs in Markdown; ``price`` is that of a core for an hour."""
    seconds = 3600 / real_time
    lines = [
        "| an hour of audio | processor seconds | memory | audio hours an hour | price |",
        "|---|---|---|---|---|",
    ]
    rows = [
        ("one call after another, one core", 1, 1.0),
        (f"a server of {cores} cores, always busy", cores, 1.0),
        ("a cluster of 10, at 70 %", 10 * cores, 0.7),
        ("a cluster of 10, at 35 % over the day", 10 * cores, 0.35),
    ]
    for name, count, use in rows:
        servers = max(1, count // cores)
        lines.append(
            f"| {name} | {seconds:.0f} | {servers * memory:.1f} GB | {count * use * real_time:.0f} "
            f"| {seconds / 3600 * price / use:.6f} |"
        )
    return "\n".join(lines)


def fleets(work: float, price: float, cores: int) -> str:
    """Five fleets under one load; ``work`` is the seconds of a core that a call takes."""
    peak = 8 * cores * 0.7 / work  # calls a second that keep 8 servers at 70 %
    rates = [peak * (0.1 + 0.9 * max(0.0, np.sin(np.pi * n / 90)) ** 2) for n in range(90)]
    rates[30:36] = [1.5 * peak] * 6
    calls = poisson(rates, MINUTE, [0.5 * work, work, 1.5 * work])
    capacity = Capacity(cores, slots=cores + 1)
    lines = [
        f"{len(calls)} calls in 90 minutes, {1.5 * peak:.0f} a second in a burst of 6 minutes.",
        "",
        "| servers | refused % | p50 s | p95 s | server hours | price |",
        "|---|---|---|---|---|---|",
    ]
    scaler = Autoscaler(most=20)
    for name, autoscaler, servers in (
        ("8, always", None, 8),
        ("12, always", None, 12),
        ("2 to 20, ready after 30 s", scaler, 2),
        ("2 to 20, ready after 120 s", Autoscaler(most=20, start=120.0), 2),
        ("2 to 20 at 50 %, ready after 30 s", Autoscaler(most=20, target=0.5), 2),
    ):
        outcome = simulate(calls, capacity, autoscaler, servers)
        hours = outcome.server_seconds / 3600
        cells = [name, f"{100 * outcome.refused_share:.2f}"]
        cells += [f"{outcome.percentile(share):.2f}" for share in (50, 95)]
        lines.append(f"| {' | '.join(cells)} | {hours:.1f} | {hours * cores * price:.2f} |")
    return "\n".join(lines)


# Beside a real server


@dataclass(frozen=True)
class Known:
    """What one server was measured to do: seconds of each file alone, and calls a second."""

    alone: list[float]
    most: float
    cores: int

    def capacity(self, places: int) -> Capacity:
        """The simulated server."""
        batched = self.cores / self.most / float(np.mean(self.alone))
        return Capacity(self.cores, self.cores + 1, places, batched=batched)


def check(options: argparse.Namespace) -> None:
    """Print what is predicted and measured at each load."""
    files = [Path(file) for file in read_samples(shipped_bundle())]
    if options.audio:
        files = find_audio(options.audio, 60)
    places = [f"--running={options.running}", f"--waiting={options.waiting}"]
    print(f"{describe_machine(torch.device('cpu'))}. {len(files)} files.\n")
    print("| load | calls/s | p50 ms: simulated, measured | p95 ms | refused % |")
    print("|---|---|---|---|---|")
    with server_on_cores(options.bundle, places, options.cores) as (server, cores):
        for number in range(options.rounds):
            for load in LOADS:
                note(f"round {number + 1} of {options.rounds}, load {load}")
                known = measure(server, files, cores)
                calls = poisson(
                    [load * known.most], options.seconds, range(len(files)), seed=number
                )
                real = asyncio.run(open_loop(server, files, calls))
                expected = simulate(
                    [(when, known.alone[int(index)]) for when, index in calls],
                    known.capacity(options.running + options.waiting),
                )
                print(_row(load, load * known.most, expected, real), flush=True)


def _row(load: float, rate: float, expected: Outcome, real: Outcome) -> str:
    cells = [f"{load:.1f}", f"{rate:.1f}"]
    for share in (50, 95):
        values = [1e3 * outcome.percentile(share) for outcome in (expected, real)]
        cells.append(f"{values[0]:.0f}, {values[1]:.0f}")
    cells.append(f"{100 * expected.refused_share:.1f}, {100 * real.refused_share:.1f}")
    return f"| {' | '.join(cells)} |"


@contextmanager
def server_on_cores(
    bundle: str, arguments: Sequence[str], count: int
) -> Iterator[tuple[Server, int]]:
    """A server that has the first ``count`` of our cores, at most all, and we have the others."""
    mine = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, mine[:count])
    try:
        with running_server(bundle, arguments) as server:
            os.sched_setaffinity(0, mine[count:] or mine)
            yield server, min(count, len(mine))
    finally:
        os.sched_setaffinity(0, mine)


def measure(server: Server, files: Sequence[Path], cores: int) -> Known:
    """Of one client's calls the seconds, and of 16 clients' how many a second."""
    alone = asyncio.run(closed_loop(server, files, 1)).latencies
    return Known(alone, asyncio.run(closed_loop(server, files, 16)).rate, cores)


async def open_loop(server: Server, files: Sequence[Path], calls: Sequence[Call]) -> Outcome:
    """Send each of ``calls``, of the file of that number, at its time, however the server does."""
    requests = [TranscribeRequest(audio=path.read_bytes()) for path in files]
    outcome = Outcome()
    options = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(server.address, options) as channel:
        stub = SpeechStub(channel)

        async def call(index: int) -> None:
            sent = time.perf_counter()
            try:
                await stub.Transcribe(requests[index], timeout=120)
                outcome.latencies.append(time.perf_counter() - sent)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                outcome.refused += 1

        await channel.channel_ready()
        begun, tasks = time.perf_counter(), []
        for when, index in calls:
            await asyncio.sleep(max(0.0, begun + when - time.perf_counter()))
            tasks.append(asyncio.create_task(call(int(index))))
        await asyncio.gather(*tasks)
    return outcome


if __name__ == "__main__":
    main()
