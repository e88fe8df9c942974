"""What calls have freed goes back to the system while the server runs."""

import asyncio
import threading

from server import application
from server.resources import PACE_SECONDS, give_back_at_a_pace


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
