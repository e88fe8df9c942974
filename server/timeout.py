"""Waiting for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

__all__ = ["within"]

Result = TypeVar("Result")


async def within(seconds: float, work: Awaitable[Result]) -> Result:
    """What ``work`` gives, if it takes no longer than ``seconds``; else it is cancelled.

    ``asyncio.wait_for`` does the same, but before Python 3.12 it forgets a cancellation that comes
    in the moment in which ``work`` is done. That moment is no rare one: when a client cancels its
    call, gRPC ends the stream of requests and cancels the method at once.

    Raises:
        asyncio.TimeoutError: it takes longer.
        Exception: what ``work`` raised.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_retrieve)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    raise asyncio.TimeoutError


def _retrieve(task: asyncio.Future[Any]) -> None:
    """Where the waiter was cancelled nobody else asks for the error, and asyncio would complain."""
    if not task.cancelled():
        task.exception()
