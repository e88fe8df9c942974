"""An event loop whose time passes at once where there is nothing else to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from typing import Any

import pytest


class VirtualLoop(asyncio.SelectorEventLoop):
    """Waits by setting its clock forward. Whoever waits for nothing that comes is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        select = self._selector.select

        def pass_time(timeout: float | None = None) -> list[Any]:
            ready = select(0)
            if not ready:
                assert timeout is not None, "everybody waits, and nothing will come"
                self.now += timeout
            return ready

        self._selector.select = pass_time

    def time(self) -> float:
        return self.now


class Instantly(Executor):
    """Does in place what it is given; ``seconds`` says how long that takes, by the loop's clock."""

    def __init__(self, seconds: Callable[..., float] = lambda *arguments: 0.0) -> None:
        self._seconds = seconds

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:  # type: ignore[override]
        future: Future[Any] = Future()

        def work() -> None:
            try:
                future.set_result(function(*arguments))
            except Exception as error:
                future.set_exception(error)

        asyncio.get_running_loop().call_later(self._seconds(*arguments), work)
        return future


def run_virtually(work: Coroutine[Any, Any, Any]) -> Any:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@pytest.fixture(scope="session")
def virtually() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """``virtually(coroutine)``: what it returns, in time that nobody waits for."""
    return run_virtually


@pytest.fixture(scope="session")
def instantly() -> type[Instantly]:
    return Instantly
