"""A gateway in a thread of this process, before whatever service a test has."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Queue

import pytest

from server.options import ListenOptions


@dataclass
class Gateway:
    """``url`` is http://host:port; ``stop`` and ``reload`` are what signals would ask for."""

    url: str
    stop: Callable[[], None]
    reload: Callable[[], None]
    thread: threading.Thread

    @property
    def socket(self) -> str:
        return self.url.replace("http", "ws", 1)


@contextmanager
def run_gateway(address: str, **options: object) -> Iterator[Gateway]:
    """A gateway to the server at ``address``; ``options`` are those of its ``GatewayOptions``."""
    for package in ("starlette", "uvicorn", "python_multipart", "websockets"):
        pytest.importorskip(package, reason="the extra http is not installed")
    from server.http.options import GatewayOptions
    from server.http.serving import serve

    ready: Queue[object] = Queue()
    options = {"listen": ListenOptions(port=0), "address": address, **options}

    async def live() -> None:
        loop, stop, reload = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

        def begun(url: str) -> None:
            ask = loop.call_soon_threadsafe
            ready.put((url, lambda: ask(stop.set), lambda: ask(reload.set)))

        try:
            await serve(GatewayOptions(**options), stop, reload, begun)
        except BaseException as error:
            ready.put(error)

    thread = threading.Thread(target=lambda: asyncio.run(live()), daemon=True)
    thread.start()
    found = ready.get(timeout=120)
    if isinstance(found, BaseException):
        raise found
    gateway = Gateway(*found, thread)
    try:
        yield gateway
    finally:
        if thread.is_alive():
            gateway.stop()
        thread.join(timeout=60)
        assert not thread.is_alive(), "the gateway did not stop"
        assert ready.empty(), ready.get()


@pytest.fixture(scope="session")
def gateway_to() -> Callable[..., object]:
    """``with gateway_to(address, **options) as gateway``."""
    return run_gateway


@pytest.fixture
def gateway(fake) -> Iterator[Gateway]:
    """A gateway to the fake service of the test."""
    with run_gateway(fake.address) as found:
        yield found
