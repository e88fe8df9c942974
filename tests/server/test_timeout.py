"""A bounded wait gives the result, ends in time, and never forgets that it was cancelled."""

from __future__ import annotations

import asyncio

import pytest

from server.timeout import within


def test_what_is_done_in_time_is_given():
    async def answer():
        await asyncio.sleep(0)
        return 42

    assert asyncio.run(within(30.0, answer())) == 42


def test_an_error_is_passed_on():
    async def fail():
        raise KeyError("no")

    with pytest.raises(KeyError):
        asyncio.run(within(30.0, fail()))


@pytest.mark.parametrize("seconds", [0.01, 0.0, -1.0])
def test_what_takes_longer_is_ended_before_the_wait_is(seconds):
    ended = []

    async def never():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def wait():
        with pytest.raises(asyncio.TimeoutError):
            await within(seconds, never())
        return list(ended)

    assert asyncio.run(wait()) == [True]


@pytest.mark.parametrize("outcome", [None, KeyError("no")])
def test_a_cancellation_in_the_moment_of_the_result_counts(outcome):
    async def live():
        async def finish_as_the_waiter_is_cancelled():
            waiter.cancel()
            if outcome is not None:
                raise outcome

        waiter = asyncio.create_task(within(30.0, finish_as_the_waiter_is_cancelled()))
        await asyncio.wait({waiter})
        return waiter.cancelled()

    assert asyncio.run(live())


def test_a_cancelled_wait_ends_what_it_waits_for():
    ended = []

    async def live():
        begun = asyncio.Event()

        async def never():
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        waiter = asyncio.create_task(within(30.0, never()))
        await begun.wait()
        waiter.cancel()
        await asyncio.wait({waiter})
        return waiter.cancelled(), list(ended)

    assert asyncio.run(live()) == (True, [True])
