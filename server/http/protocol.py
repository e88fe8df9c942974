"""Connections of HTTP that do not wait for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import h11

__all__ = ["PatientProtocol"]

HEAD_SECONDS = 10.0  # in which a head has to come, from the connection's or last answer's time


class PatientProtocol(H11Protocol):
    """Uvicorn's own waits for the first head of a connection, or the rest of one, without end."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Of asyncio."""
        super().connection_made(transport)
        self._await_head()

    def on_response_complete(self) -> None:
        """Of uvicorn."""
        super().on_response_complete()
        self._await_head()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Of uvicorn: from here on the connection is a WebSocket's."""
        self._wait_no_more()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio; not called of what has become a WebSocket's."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._wait_no_more()
        self._waiting = self.loop.call_later(HEAD_SECONDS, self._end)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def _end(self) -> None:
        """Close the connection, unless its head has come."""
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and not self.transport.is_closing():
            self.transport.close()
