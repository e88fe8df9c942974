"""Where a method of the service begins and ends: an exception becomes the status it deserves."""

from __future__ import annotations

from types import TracebackType

import grpc

from server.errors import refusal_of
from server.telemetry.records import CallRecord, current_record, refuse

__all__ = ["Call", "Context"]

Context = grpc.aio.ServicerContext[object, object]


class Call:
    """One call, from its first line to its status; gives its record.

    Of an exception the client is told what :func:`server.errors.refusal_of` makes of it.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        record = current_record()
        assert record is not None, "server.transport.call_log makes one for every call"
        self._record = record

    async def __aenter__(self) -> CallRecord:
        return self._record

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # gRPC's own errors say that the client has gone: there is nobody to refuse.
        if isinstance(error, Exception) and not isinstance(error, grpc.aio.BaseError):
            refusal = refusal_of(error, self._record.request_id)
            await refuse(
                self._context, refusal.code, refusal.cause, refusal.message, refusal.metadata()
            )
