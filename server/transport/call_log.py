"""The call log, the outermost interceptor: each call has an id, a record, and a safe end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from server.telemetry.records import CURRENT, CallRecord, Cause, metadata_value, request_id_of
from server.transport.handlers import (
    HEALTH,
    Behaviour,
    Continuation,
    Handler,
    behaviour_of,
    rebuilt,
)

__all__ = ["CallLog"]

log = logging.getLogger(__name__)

Observer = Callable[[CallRecord], None]

# What a status means where nobody noted a cause.
CAUSE_OF: dict[grpc.StatusCode, Cause] = {
    grpc.StatusCode.CANCELLED: "cancelled",
    grpc.StatusCode.DEADLINE_EXCEEDED: "deadline",
    grpc.StatusCode.INTERNAL: "defect",
    grpc.StatusCode.INVALID_ARGUMENT: "options",
    grpc.StatusCode.NOT_FOUND: "model",
    grpc.StatusCode.UNAUTHENTICATED: "token",
    grpc.StatusCode.UNIMPLEMENTED: "method",
    grpc.StatusCode.UNKNOWN: "defect",
}


class CallLog(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Makes a :class:`CallRecord` of every call but probes, for ``observers`` at the call's end.

    Code that runs for the call finds it with :func:`server.telemetry.records.current_record`. The
    trailing metadata hold the request's id, whatever the call's end. An exception that nobody
    caught is logged, and the client is told INTERNAL and the id alone: grpc.aio would send its
    text.

    ``active`` is the number of calls now under way.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.active = 0
        self._observers = tuple(observers)

    async def intercept_service(  # type: ignore[override]
        self, continuation: Continuation, details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Of grpc.aio."""
        handler = await continuation(details)
        if details.method.startswith(HEALTH):
            return handler
        if handler is None:
            record = _record(details)
            record.code, record.cause = grpc.StatusCode.UNIMPLEMENTED, "method"
            self._finish(record)
            return None
        behaviour = behaviour_of(handler)
        return rebuilt(handler, self._recorded(behaviour, details)) if behaviour else handler

    def _recorded(self, behaviour: Behaviour, details: grpc.HandlerCallDetails) -> Behaviour:
        async def call(request: Any, context: Any) -> Any:
            record, noting = _record(details), _Context(context)
            noting.sign(record.request_id)
            token = CURRENT.set(record)
            self.active += 1
            try:
                return await behaviour(request, noting)
            except asyncio.CancelledError:
                noting.note(_why_cancelled(context))
                raise
            except Exception as error:
                await _end(noting, record, error, _why_cancelled(context))
            finally:
                self.active -= 1
                CURRENT.reset(token)
                record.code = noting.ended_with
                self._finish(record)

        return call

    def _finish(self, record: CallRecord) -> None:
        record.finish()
        record.cause = record.cause or CAUSE_OF.get(record.code, "")
        for observe in self._observers:
            try:
                observe(record)
            except Exception:
                log.exception("request %s could not be recorded", record.request_id)


async def _end(
    context: _Context, record: CallRecord, error: Exception, gone: grpc.StatusCode
) -> None:
    """Give the call that failed with ``error`` its end; ``gone`` where the client has left it."""
    if context.aborted:
        raise error
    if isinstance(error, grpc.aio.BaseError):  # gRPC's own: the client is no longer there
        context.note(gone)
        raise error
    log.error("request %s failed", record.request_id, exc_info=error)
    record.cause = "defect"
    await context.abort(
        grpc.StatusCode.INTERNAL,
        f"the server failed; its log tells more under request {record.request_id}",
    )


def _record(details: grpc.HandlerCallDetails) -> CallRecord:
    metadata: Any = details.invocation_metadata or ()
    return CallRecord(
        details.method.removeprefix("/"),
        request_id_of(metadata),
        traceparent=metadata_value(metadata, "traceparent"),
    )


def _why_cancelled(context: Any) -> grpc.StatusCode:
    """gRPC cancels a call in the same way when its client gives up and when its time is over."""
    left = context.time_remaining()
    over = left is not None and left <= 0
    return grpc.StatusCode.DEADLINE_EXCEEDED if over else grpc.StatusCode.CANCELLED


class _Context:
    """A context that knows how its call ended, and keeps the request's id in trailing metadata."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._id: tuple[tuple[str, str], ...] = ()
        self.aborted = False
        self.ended_with = grpc.StatusCode.OK

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def sign(self, request_id: str) -> None:
        self._id = (("x-request-id", request_id),)
        self._context.set_trailing_metadata(self._id)

    def note(self, code: grpc.StatusCode) -> None:
        if not self.aborted:
            self.ended_with = code

    def set_code(self, code: grpc.StatusCode) -> None:
        self.note(code)
        self._context.set_code(code)

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._context.set_trailing_metadata((*metadata, *self._id))

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()
    ) -> None:
        self.note(code)
        self.aborted = True
        more = (*trailing_metadata, *self._id) if trailing_metadata else ()
        await self._context.abort(code, details, more)
