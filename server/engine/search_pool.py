"""Decoders at work in threads, so that the event loop stays free; a cancelled search ends soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from asr.decoding import Stop

__all__ = ["Searches"]

R = TypeVar("R")


class Searches:
    """Up to ``threads`` searches at a time; more wait in order."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="search")
        self._open = 0

    def __len__(self) -> int:
        """Searches that run or wait."""
        return self._open

    async def run(self, search: Callable[[Stop], R]) -> R:
        """The result of ``search``, which is given the means to see that nobody wants it."""
        stop = Stop()
        self._open += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, search, stop)
        finally:
            stop.set()  # tells it if this call was cancelled, and else comes too late to matter
            self._open -= 1

    def close(self) -> None:
        """Begin no more searches."""
        self._executor.shutdown(wait=False, cancel_futures=True)
