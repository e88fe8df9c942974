"""Who is taken in, who waits, who is refused; and that every place comes back."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import grpc
import pytest

from server.engine.admission import Admission
from server.errors import Refusal
from server.resources import available_bytes, give_back, resident_bytes

MIB = 1024 * 1024


def admission(running=2, waiting=3, **options) -> Admission:
    return Admission(running, waiting, upload_bytes=options.pop("upload_bytes", 10), **options)


def refused(room: Admission) -> Refusal:
    with pytest.raises(Refusal) as caught, room.place():
        pass
    return caught.value


def test_there_are_as_many_places_as_work_and_wait_together():
    room = admission()
    for _ in range(3):
        with ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(room.place())
            refusal = refused(room)
            assert (refusal.code, refusal.cause) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
            assert refusal.retry
        assert room.accepted == 0


def test_turns_are_taken_in_order_by_as_many_as_may_work():
    order: list[int] = []

    async def call(room: Admission, number: int, go: asyncio.Event) -> None:
        with room.place() as place:
            await place.turn()
            order.append(number)
            await go.wait()

    async def live() -> None:
        room, events = admission(), [asyncio.Event() for _ in range(5)]
        tasks = [asyncio.create_task(call(room, n, events[n])) for n in range(5)]
        await asyncio.sleep(0)
        assert (order, room.working, room.accepted) == ([0, 1], 2, 5)
        tasks[2].cancel()  # while it waits
        events[1].set()
        await tasks[1]
        await asyncio.sleep(0)
        assert order == [0, 1, 3]
        tasks[0].cancel()  # while it works
        await asyncio.wait([tasks[0]])
        await asyncio.sleep(0)
        assert order == [0, 1, 3, 4]
        for event in events:
            event.set()
        await asyncio.wait(tasks)
        assert (room.working, room.accepted) == (0, 0)

    asyncio.run(live())


def test_no_new_call_above_the_memory_mark_and_those_accepted_go_on():
    held = 100

    async def live() -> None:
        nonlocal held
        room = admission(memory_mark=200, resident=lambda: held, give_back=lambda: None)
        with room.place() as place:
            held = 201
            assert refused(room).cause == "memory"
            await place.turn()
            held = 200
            with room.place():
                assert room.accepted == 2

    asyncio.run(live())


def test_memory_that_nobody_uses_keeps_nobody_out():
    held, given_back = 300, 0

    def give_back() -> None:
        nonlocal held, given_back
        given_back += 1
        held = 250 if given_back == 1 else 100

    room = admission(memory_mark=200, resident=lambda: held, give_back=give_back)
    assert refused(room).cause == "memory", "most of it is used"
    assert refused(room).cause == "memory"
    assert given_back == 1, "not for every call"
    room = admission(memory_mark=200, resident=lambda: held, give_back=give_back)
    with room.place():
        assert (room.accepted, given_back) == (1, 2)


def test_a_closed_door_lets_nobody_in_and_keeps_nobody_from_finishing():
    async def live() -> None:
        room = admission()
        with room.place() as place:
            room.close()
            refusal = refused(room)
            assert (refusal.code, refusal.cause) == (grpc.StatusCode.UNAVAILABLE, "draining")
            await place.turn()

    asyncio.run(live())


def test_uploads_together_hold_no_more_than_they_may():
    room = admission(upload_bytes=10)
    with room.place() as first:
        first.hold(6)
        with room.place() as second:
            second.hold(4)
            with pytest.raises(Refusal) as caught:
                first.hold(1)
            assert caught.value.cause == "memory"
        first.hold(4)


def test_the_retry_of_many_is_spread_over_time():
    delays = {
        Refusal(grpc.StatusCode.UNAVAILABLE, "full", "", retry=True).metadata() for _ in range(50)
    }
    assert len(delays) > 10
    for ((key, value),) in delays:
        assert key == "grpc-retry-pushback-ms"
        assert 250 <= int(value) <= 1000
    assert Refusal(grpc.StatusCode.NOT_FOUND, "model", "").metadata() == ()


def test_freed_memory_goes_back_to_the_system():
    blocks = [bytes(64 * 1024) for _ in range(1024)]  # of a size that libc keeps for later
    del blocks[:-1]
    held = resident_bytes()
    give_back()
    assert held - resident_bytes() > 32 * MIB


def test_the_system_tells_of_memory():
    before = resident_bytes()
    block = bytearray(64 * MIB)
    assert resident_bytes() - before > 48 * MIB
    assert before < available_bytes()
    del block
