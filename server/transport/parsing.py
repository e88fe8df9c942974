"""Bytes that are not the message of their method are the client's mistake, and it is told so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from asr.types import AsrError
from server.limits import METADATA_BYTES
from server.telemetry.records import refuse
from server.transport.handlers import Behaviour, Continuation, Handler, behaviour_of, rebuilt

__all__ = ["METADATA_OPTIONS", "MessageError", "Parsing"]

# The two limits as one. By default gRPC refuses metadata between the first, of 8 KiB, and the
# second, of 16 KiB, at random, the more often the larger they are: a client's trouble would come
# and go.
METADATA_OPTIONS = (
    ("grpc.max_metadata_size", METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", METADATA_BYTES),
)


class MessageError(AsrError):
    """Bytes that are not the message that the method takes."""

    def __init__(self) -> None:
        super().__init__(
            "the request is not a message of this method",
            remedy="make the client from its definition",
        )


class Parsing(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Answers bytes that do not parse with INVALID_ARGUMENT; grpc.aio alone would say UNKNOWN.

    A single request that does not parse never reaches its method. In a stream the iterator over
    requests raises :class:`MessageError` in its place; a method may catch it as any ``AsrError``,
    and need not.
    """

    async def intercept_service(  # type: ignore[override]
        self, continuation: Continuation, details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Of grpc.aio."""
        handler = await continuation(details)
        if handler is None or handler.request_deserializer is None:
            return handler
        behaviour = behaviour_of(handler)
        if behaviour is None:
            return handler
        wrap = _stream if handler.request_streaming else _single
        return rebuilt(handler, *wrap(behaviour, handler.request_deserializer))


Parse = Callable[[bytes], Any]


def _single(behaviour: Behaviour, parse: Parse) -> tuple[Behaviour, Parse]:
    """For methods with one request: it is parsed before the behaviour is called."""

    def attempt(raw: bytes) -> Any:
        try:
            return parse(raw)
        except Exception:
            return MessageError()

    async def checked(request: Any, context: Any) -> Any:
        if isinstance(request, MessageError):
            await _refuse(context, request)
        return await behaviour(request, context)

    return checked, attempt


def _stream(behaviour: Behaviour, parse: Parse) -> tuple[Behaviour, Parse]:
    """For methods with a stream of requests: they are parsed where the behaviour reads them."""

    def attempt(raw: bytes) -> Any:
        try:
            return parse(raw)
        except Exception:
            raise MessageError from None

    async def checked(requests: Any, context: Any) -> Any:
        try:
            return await behaviour(requests, context)
        except MessageError as error:
            await _refuse(context, error)

    return checked, attempt


async def _refuse(context: Any, error: MessageError) -> None:
    await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "message", error.public_message())
