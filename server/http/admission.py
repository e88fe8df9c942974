"""How much a gateway takes in at once. Beyond it, a request is refused before it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from server.http.errors import AGAIN_SECONDS, ApiError

__all__ = ["Admission", "Place"]


class Admission:
    """Places for requests and for WebSockets, and room for the bodies of requests."""

    def __init__(self, requests: int, sockets: int, upload_bytes: int) -> None:
        self._free_requests = requests
        self._free_sockets = sockets
        self._free_bytes = upload_bytes

    @contextmanager
    def request(self) -> Iterator[Place]:
        """A place for one request.

        Raises:
            ApiError: all are taken.
        """
        if self._free_requests < 1:
            raise _full("requests")
        self._free_requests -= 1
        place = Place(self)
        try:
            yield place
        finally:
            self._free_requests += 1
            self._free_bytes += place.held

    @contextmanager
    def socket(self) -> Iterator[None]:
        """A place for one WebSocket.

        Raises:
            ApiError: all are taken.
        """
        if self._free_sockets < 1:
            raise _full("WebSockets")
        self._free_sockets -= 1
        try:
            yield
        finally:
            self._free_sockets += 1

    def take(self, count: int) -> None:
        """Take room for ``count`` bytes.

        Raises:
            ApiError: there is not so much.
        """
        if count > self._free_bytes:
            raise _full("uploads")
        self._free_bytes -= count


class Place:
    """One request's place, with the room that its body takes."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.held = 0

    def hold(self, count: int) -> None:
        """Take room for ``count`` more bytes, until the request is over.

        Raises:
            ApiError: there is not so much.
        """
        self._admission.take(count)
        self.held += count


def _full(what: str) -> ApiError:
    return ApiError(
        429,
        f"the gateway has as many {what} as it can take (try again later)",
        code="rate_limit_exceeded",
        retry_after=AGAIN_SECONDS,
        close=True,
    )
