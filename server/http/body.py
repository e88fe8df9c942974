"""The body of a request: no more of it, and no slower, than a gateway takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import ClientDisconnect, Request

from server.http.admission import Place
from server.http.errors import ApiError
from server.limits import UPLOAD_BYTES_PER_SECOND, UPLOAD_SECONDS, WHOLE_BYTES
from server.timeout import within

__all__ = ["BODY_BYTES", "Body", "too_long"]

BODY_BYTES = WHOLE_BYTES + 1024 * 1024  # the audio, and the other fields around it


class Body:
    """The bytes of the request's body, to be read once.

    What it says of its length is believed where it is too long, and never where it is not.
    """

    def __init__(self, request: Request, place: Place, idle_seconds: float) -> None:
        self._request = request
        self._place = place
        self._idle_seconds = idle_seconds
        self._ends = time.monotonic() + UPLOAD_SECONDS
        self._patience = idle_seconds
        self._in_window = 0

    def check_length(self) -> None:
        """Look at ``Content-Length``, before anything is read.

        Raises:
            ApiError: the body is too long.
        """
        length = self._request.headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > BODY_BYTES:
            raise too_long()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces.

        Raises:
            ApiError: there is more of it than ``BODY_BYTES``, or than the gateway has room for; or
                it is too slow.
            ClientDisconnect: the client has gone.
        """
        total = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece: bytes = message.get("body", b"")
            total += len(piece)
            if total > BODY_BYTES:
                raise too_long()
            self._place.hold(len(piece))
            self._count(len(piece))
            yield piece
            if not message.get("more_body", False):
                return

    async def _receive(self) -> dict[str, Any]:
        begun = time.monotonic()
        try:
            left = min(self._patience, self._ends - begun)
            return dict(await within(left, self._request.receive()))
        except asyncio.TimeoutError:
            raise ApiError(
                408,
                f"the upload brought less than {UPLOAD_BYTES_PER_SECOND} bytes a second over "
                f"{self._idle_seconds:g} s, or took more than {UPLOAD_SECONDS:g} s in all",
                code="too_slow",
                close=True,
            ) from None
        finally:
            self._patience -= time.monotonic() - begun

    def _count(self, count: int) -> None:
        """Note that bytes arrived; enough of them begin a new window."""
        self._in_window += count
        if self._in_window >= UPLOAD_BYTES_PER_SECOND * self._idle_seconds:
            self._in_window = 0
            self._patience = self._idle_seconds


def too_long() -> ApiError:
    """More bytes than a request, or the audio in it, may have."""
    return ApiError(
        413,
        f"a request has {BODY_BYTES} bytes at most, of which {WHOLE_BYTES} may be audio "
        "(split it into parts)",
        code="too_large",
        close=True,
    )
