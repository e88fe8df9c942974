"""What calls have freed goes back to the system while the server runs."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

from asr.audio import AudioLimits
from server import application
from server.application import give_back_at_a_pace
from server.audio import worker
from server.audio.worker import FRAME, AudioJob, pack
from server.resources import PACE_SECONDS


def test_memory_is_given_back_again_and_again(virtually, instantly):
    given = []

    async def live():
        now = asyncio.get_running_loop().time
        task = asyncio.create_task(give_back_at_a_pace(instantly(), lambda: given.append(now())))
        await asyncio.sleep(3.5 * PACE_SECONDS)
        task.cancel()
        await asyncio.sleep(2 * PACE_SECONDS)

    virtually(live())
    assert given == [PACE_SECONDS, 2 * PACE_SECONDS, 3 * PACE_SECONDS]


def test_a_server_gives_back_from_its_start_to_its_stop(serving, stand_in, monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    async def giving_back(executor):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(application, "give_back_at_a_pace", giving_back)
    with serving(stand_in()):
        assert begun.wait(30)
        assert not ended.is_set()
    assert ended.wait(30)


def test_a_process_for_audio_gives_back_between_its_jobs(monkeypatch):
    """Once in ten seconds at the most: the first two of three jobs take six each."""
    given, clock = [], iter([0.0, 6.0, 12.0, 12.0, 13.0])
    monkeypatch.setattr(worker, "confine", lambda memory: None)
    monkeypatch.setattr(worker, "give_back", lambda: given.append(len(answers(ours))))
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    ours, its = socket.socketpair()
    job = pack(asdict(AudioJob("LINEAR16", 16_000, 1, None, 16_000)), 640) + bytes(640)
    ours.sendall(3 * job)
    ours.shutdown(socket.SHUT_WR)
    assert worker.main([str(its.detach()), json.dumps(asdict(AudioLimits()))]) == 0
    assert given == [3]  # frames that had been sent: it was ready, and two answers
    ours.close()


def answers(ours: socket.socket) -> list[dict[str, Any]]:
    """The heads of the frames that have come so far."""
    seen, heads = ours.recv(1 << 20, socket.MSG_PEEK), []
    while seen:
        head, follows = FRAME.unpack_from(seen)
        heads.append(json.loads(seen[FRAME.size : FRAME.size + head]))
        seen = seen[FRAME.size + head + follows :]
    return heads
