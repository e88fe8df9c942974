"""Five times the load that the server can carry does not bring it down.

A refused call is not free: gRPC itself takes 0.25 ms of processor time for each. The shorter the
audio, and the smaller the model, the more of that there is beside the work.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timed

ROOT = Path(__file__).resolve().parents[3]

# Another process, so that the generator and the server share no interpreter. An open loop: calls
# are sent at their times, however the server does.
LOAD = """
import asyncio, json, sys, time
import grpc
from server.pb.v1 import speech_pb2 as pb
from server.pb.v1.speech_pb2_grpc import SpeechStub
address, rate, seconds, length = sys.argv[1], *map(float, sys.argv[2:])
config = pb.RecognitionConfig(encoding="AUDIO_ENCODING_MULAW", sample_rate_hertz=8000)
request = pb.TranscribeRequest(config=config, audio=bytes(range(250)) * int(32 * length))
codes = {}
async def call(stub):
    try:
        await stub.Transcribe(request, timeout=30)
        code = "OK"
    except grpc.aio.AioRpcError as error:
        code = error.code().name
    codes[code] = codes.get(code, 0) + 1
async def closed(stub, end):
    while time.perf_counter() < end:
        await call(stub)
async def live():
    async with grpc.aio.insecure_channel(address) as channel:
        stub = SpeechStub(channel)
        for _ in range(10):
            await call(stub)
        codes.clear()
        begun = time.perf_counter()
        if rate < 0:  # so many clients, each with one call at a time
            await asyncio.gather(*(closed(stub, begun + seconds) for _ in range(int(-rate))))
        else:
            calls = []
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
                calls.append(asyncio.create_task(call(stub)))
            sent = time.perf_counter() - begun
            await asyncio.gather(*calls)
            codes["sent a second"] = len(calls) / sent
        codes["answered a second"] = codes.get("OK", 0) / (time.perf_counter() - begun)
    print(json.dumps(codes))
asyncio.run(live())
"""


def load(address: str, rate: float, seconds: float, length: float) -> dict[str, float]:
    """Statuses and rates of calls with ``length`` seconds of audio, sent ``rate`` a second for
    ``seconds``; a rate below 0: by so many clients.
    """
    done = subprocess.run(
        [sys.executable, "-c", LOAD, address, *map(str, (rate, seconds, length))],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture
def cores():
    """``cores(n)``: from now on this process, and what it starts, runs on its core ``n`` alone."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("server and load generator need a core each")
    mine = sorted(os.sched_getaffinity(0))
    yield lambda number: os.sched_setaffinity(0, {mine[number]})
    os.sched_setaffinity(0, mine)


@pytest.mark.slow
@pytest.mark.parametrize(("length", "least"), [(5, 0.75), (30, 0.8)])
def test_goodput_does_not_collapse_at_five_times_the_load(
    start, large_bundle_path, cores, length, least
):
    """Server and generator have a core each, so that the load takes nothing by being made."""
    cores(0)
    process, address = start(
        *(large_bundle_path, "--running", "8", "--waiting", "8", "--log-level", "error"),
    )
    cores(1)
    ratios = []
    for _ in range(3):
        peak = load(address, -12, 6, length)["answered a second"]
        over = load(address, 5 * peak, 6, length)
        ratios.append(over["answered a second"] / peak)
        print(f"peak {peak:.1f} calls/s; at {over['sent a second']:.1f}/s: {over}")
        assert set(over) <= {"OK", "RESOURCE_EXHAUSTED", "sent a second", "answered a second"}
        assert over["sent a second"] > 4.5 * peak, "the generator keeps its pace"
    process.terminate()
    process.communicate(timeout=60)
    print("goodput over peak:", *(f"{ratio:.2f}" for ratio in ratios))
    assert statistics.median(ratios) >= least
