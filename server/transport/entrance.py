"""Calls that there is no room for end with their header: no message of theirs is read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import grpc

from server.errors import Refusal
from server.telemetry.records import current_record
from server.transport.handlers import Continuation, Handler

__all__ = ["Entrance"]


class Entrance(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Asks ``check_room`` at the beginning of each call of ``methods``, and tells what it raises.

    There may be room when the header comes and none when the message is there: methods ask again.

    Args:
        check_room: raises Refusal where there is none.
        methods: those that need it, written ``/package.Service/Method``.
    """

    def __init__(self, check_room: Callable[[], None], methods: Collection[str]) -> None:
        self._check_room = check_room
        self._methods = frozenset(methods)

    async def intercept_service(  # type: ignore[override]
        self, continuation: Continuation, details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Of grpc.aio."""
        if details.method in self._methods:
            try:
                self._check_room()
            except Refusal as refusal:
                return _refused(refusal)
        return await continuation(details)


def _refused(refusal: Refusal) -> Handler:
    """A handler for any kind of method. As one for streams it need not read a request first."""

    async def refuse(_: Any, context: Any) -> None:
        # Without an exception, which would cost as much as all the rest.
        record = current_record()
        if record is not None:
            record.cause = refusal.cause
        context.set_trailing_metadata(refusal.metadata())
        context.set_details(refusal.message)
        context.set_code(refusal.code)

    return grpc.stream_stream_rpc_method_handler(refuse)
