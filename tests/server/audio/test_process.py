"""The server believes nothing that an audio worker may say under somebody else's control."""

from __future__ import annotations

import asyncio
import math
import socket

import numpy as np
import pytest

from asr.audio import AudioLimits
from server.audio.blocks import BlockReader
from server.audio.process import WorkerDiedError, WorkerProcess
from server.audio.worker import FRAME, AudioJob, pack

LIMITS = AudioLimits()
ANY_FILE = AudioJob("", 0, 0, None, 16_000)

GOOD = np.full(8_000, 0.25, np.float32).tobytes()
NONSENSE = {
    "no JSON": FRAME.pack(5, 0) + b"hello",
    "deep JSON": FRAME.pack(10_000, 0) + b"[" * 10_000,
    "a list": FRAME.pack(2, 0) + b"[]",
    "a large head": FRAME.pack(2**32 - 1, 0),
    "no head": FRAME.pack(0, 0),
    "nothing said": pack({}),
    "frames without bytes": pack({"frames": 8_000, "seconds": 0.5}),
    "bytes without frames": pack({"frames": 0, "seconds": 0.5}, len(GOOD)) + GOOD,
    "a terabyte": pack({"frames": 2**38, "seconds": 2**38 / 16_000}, 2**40),
    "beyond the limit": pack({"frames": 9_616_000, "seconds": 601.0}, 4 * 9_616_000),
    "more than its seconds": pack({"frames": 8_000, "seconds": 0.25}, len(GOOD)) + GOOD,
    "fewer than none": pack({"frames": -1, "seconds": 1e-9}, 0),
    "no number of frames": pack({"frames": "8000", "seconds": 0.5}, len(GOOD)) + GOOD,
    "seconds that are no number": pack({"frames": 8_000, "seconds": math.nan}, len(GOOD)) + GOOD,
    "infinite seconds": pack({"frames": 8_000, "seconds": math.inf}, len(GOOD)) + GOOD,
    "NaN": pack({"frames": 8_000, "seconds": 0.5}, len(GOOD)) + GOOD[:-4] + b"\xff\xff\xff\xff",
    "an error that is none": pack({"what": 5, "remedy": None}),
    "an error with samples": pack({"what": "it", "remedy": None}, len(GOOD)) + GOOD,
    "too many channels": pack({"frames": 8_000, "seconds": 0.5, "channels": 9}, len(GOOD)) + GOOD,
    "a cut answer": pack({"frames": 8_000, "seconds": 0.5}, len(GOOD)) + GOOD[:-1],
    "a defect": pack({"defect": "Traceback\nforged line"}),
    "silence": b"",
}


BLOCK = np.full(1_600, 0.25, np.float32).tobytes()
NO_BLOCKS = {
    "no JSON": FRAME.pack(5, 0) + b"hello",
    "nothing said": pack({}),
    "frames without bytes": pack({"frames": 1_600}),
    "no frames": pack({"frames": 0}),
    "a block too large": pack({"frames": 2**30}, 2**32),
    "fewer than none": pack({"frames": -1}, 0),
    "no number of frames": pack({"frames": "1600"}, len(BLOCK)) + BLOCK,
    "NaN": pack({"frames": 1_600}, len(BLOCK)) + BLOCK[:-4] + b"\xff\xff\xff\xff",
    "a cut block": pack({"frames": 1_600}, len(BLOCK)) + BLOCK[:-1],
    "an end before the audio": pack({"seconds": 0.0, "channels": 1}),
    "an end that is no number": pack({"seconds": math.nan, "channels": 1}),
    "an infinite end": pack({"seconds": math.inf, "channels": 1}),
    "an end elsewhere": pack({"seconds": 0.5, "channels": 1}),
    "an end without channels": pack({"seconds": 0.1}),
    "channels without end": pack({"seconds": 0.1, "channels": 10**9}),
    "a defect": pack({"defect": "Traceback\nforged line"}),
    "silence": b"",
}


@pytest.mark.parametrize("name", [*NO_BLOCKS, None])
def test_nonsense_from_the_reader_of_a_long_recording_is_never_a_result(name):
    async def use():
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            reader = BlockReader(Gone(), ours, 16_000)
            block = pack({"frames": 1_600}, len(BLOCK)) + BLOCK
            end = pack({"seconds": 0.1, "channels": 2})
            theirs.sendall(block + (end if name is None else NO_BLOCKS[name]))
            theirs.shutdown(socket.SHUT_WR)
            blocks = [block.tobytes() async for block in reader.blocks(30)]
            return blocks, reader.seconds, reader.channels

    if name is None:
        assert asyncio.run(use()) == ([BLOCK], 0.1, 2)
    else:
        with pytest.raises(WorkerDiedError) as caught:
            asyncio.run(use())
        assert "\n" not in str(caught.value)


class Gone:
    """Stands in for a process of the system."""

    pid, returncode = 0, 0


@pytest.mark.parametrize("name", [*NONSENSE, None])
def test_nonsense_from_a_process_is_never_a_result(name):
    async def use():
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            process = WorkerProcess(Gone(), ours)
            answer = pack({"frames": 8_000, "seconds": 0.5}, len(GOOD)) + GOOD
            theirs.sendall(answer if name is None else NONSENSE[name])
            theirs.shutdown(socket.SHUT_WR)
            try:
                return await process.decode(ANY_FILE, memoryview(bytes(100)), LIMITS)
            finally:
                assert process.is_idle == (name is None)

    if name is None:
        waveform, seconds, _ = asyncio.run(use())
        assert (waveform.samples.tobytes(), seconds) == (GOOD, 0.5)
    else:
        with pytest.raises(WorkerDiedError) as caught:
            asyncio.run(use())
        assert "\n" not in str(caught.value)
