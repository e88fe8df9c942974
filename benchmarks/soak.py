"""Thousands of calls, good and bad, and whether the server stays as it was: ``make soak``.

Memory of the server and its processes, open files and threads are read from ``/proc`` as the calls
go on. It fails (exit code 1) where memory grows by more than a megabyte in ten thousand calls, or
files or threads become more. ``--leak BYTES`` plants a leak that it has to find.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import soundfile
from rich.progress import Progress

from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub

ROOT = Path(__file__).resolve().parents[1]
CALLS = 100_000  # of a third as many, what allocators keep for a while looks like growth
LIMIT = 1.0  # megabytes in ten thousand calls
WARM_UP = 0.3  # of all calls; caches and allocators fill
CLIENTS = 8
EXPECTED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.NOT_FOUND,
}


@dataclass(frozen=True)
class Sample:
    """What the server holds after so many calls: bytes, open files, threads."""

    calls: int
    resident: int
    files: int
    threads: int


def main(arguments: list[str] | None = None) -> int:
    """Soak; returns 0 where nothing grew, 1 where something did."""
    options = _parser().parse_args(arguments)
    with server(options.bundle, options.leak) as (process, address):
        samples = asyncio.run(soak(process, address, options.calls))
    slope = megabytes_a_10000(samples)
    late = [sample for sample in samples if sample.calls >= WARM_UP * options.calls]
    first, last = late[0], late[-1]
    print(f"{options.calls} calls; from call {first.calls} on, memory grew by {slope:+.2f} MB in")
    print(f"10,000 calls ({first.resident / 1e6:.0f} to {last.resident / 1e6:.0f} MB); open files")
    print(f"{first.files} to {last.files}, threads {first.threads} to {last.threads}.")
    if slope > LIMIT or last.files > first.files + 2 or last.threads > first.threads:
        print("FAILED: the server does not stay as it was.")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.soak")
    add = parser.add_argument
    add("--bundle", default="exp/demo/bundle", help="(default: %(default)s)")
    add("--calls", type=int, default=CALLS, help="(default: %(default)s)")
    add("--leak", type=int, default=0, metavar="BYTES", help="plant a leak of so many a call")
    return parser


@contextmanager
def server(bundle: str, leak: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """An ``asr-server``, with the leak, and its address."""
    command = [sys.executable, "-m", "benchmarks.leaking_server", str(leak)]
    command += ["--model", bundle, "--port", "0", "--log-level", "error"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise SystemExit("the server did not start")
        yield process, line.split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=60)


async def soak(process: subprocess.Popen[str], address: str, calls: int) -> list[Sample]:
    """Make the calls; gives a sample after every hundredth part of them."""
    rng, samples = random.Random(0), []
    audio = [speech_like(rng, seconds) for seconds in (0.3, 0.6, 1.0, 1.5, 2.0)]
    step = max(1, calls // 100)
    with Progress(disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("soaking", total=calls)
        async with grpc.aio.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
            stub = SpeechStub(channel)
            for done in range(0, calls, step):
                waiting = iter(range(step))

                async def client(waiting: Iterator[int] = waiting) -> None:
                    for _ in waiting:
                        await call(stub, rng, audio)

                await asyncio.gather(*(client() for _ in range(CLIENTS)))
                samples.append(sample(process.pid, done + step))
                progress.advance(task, step)
    return samples


def speech_like(rng: random.Random, seconds: float) -> bytes:
    """A FLAC file of tones and noise."""
    noise = np.random.default_rng(rng.randrange(2**32))
    time = np.arange(int(16000 * seconds)) / 16000
    tone = 0.3 * np.sin(2 * np.pi * (200 + 300 * np.sin(5 * time)) * time)
    file = io.BytesIO()
    soundfile.write(file, tone + 0.01 * noise.normal(size=len(time)), 16000, format="FLAC")
    return file.getvalue()


async def call(stub: SpeechStub, rng: random.Random, audio: list[bytes]) -> None:
    """One call of a kind drawn at random."""
    data, kind = rng.choice(audio), rng.random()
    config = pb.RecognitionConfig(decoder=rng.choice(["", "greedy", "beam"]))
    try:
        if kind < 0.65:
            await stub.Transcribe(pb.TranscribeRequest(config=config, audio=data), timeout=60)
        elif kind < 0.75:
            requests = [pb.TranscribeChunksRequest(config=config)]
            requests += [pb.TranscribeChunksRequest(audio_content=data)]
            await stub.TranscribeChunks(iter(requests), timeout=60)
        elif kind < 0.80:
            parts = [pb.TranscribeStreamRequest(config=config)]
            parts += [pb.TranscribeStreamRequest(audio_content=data)]
            async for _ in stub.TranscribeStream(iter(parts), timeout=60):
                pass
        elif kind < 0.85:
            await stub.Transcribe(pb.TranscribeRequest(audio=data[: len(data) // 3]), timeout=60)
        elif kind < 0.90:
            config.model = "another"
            await stub.Transcribe(pb.TranscribeRequest(config=config, audio=data), timeout=60)
        elif kind < 0.95:
            await stub.Transcribe(pb.TranscribeRequest(audio=data), timeout=0.002)
        else:
            begun = stub.Transcribe(pb.TranscribeRequest(audio=data), timeout=60)
            await asyncio.sleep(rng.random() * 0.02)
            begun.cancel()
            await begun
    except grpc.aio.AioRpcError as error:
        if error.code() not in EXPECTED:
            raise
    except asyncio.CancelledError:
        pass  # by ourselves, above


def sample(pid: int, calls: int) -> Sample:
    """What a process and those it started hold now."""
    family = [pid, *children(pid)]
    return Sample(
        calls,
        sum(resident(member) for member in family),
        sum(len(os.listdir(f"/proc/{member}/fd")) for member in family),
        sum(len(os.listdir(f"/proc/{member}/task")) for member in family),
    )


def children(pid: int) -> list[int]:
    """Processes that ``pid`` started."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    return [int(child) for child in found]


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def megabytes_a_10000(samples: list[Sample]) -> float:
    """Slope of memory over calls after the warm-up: the median over all pairs (Theil and Sen)."""
    late = [sample for sample in samples if sample.calls >= WARM_UP * samples[-1].calls]
    slopes = [
        (b.resident - a.resident) / (b.calls - a.calls)
        for i, a in enumerate(late)
        for b in late[i + 1 :]
    ]
    return float(np.median(slopes)) * 10_000 / 1e6


if __name__ == "__main__":
    sys.exit(main())
