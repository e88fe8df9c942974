"""What an interceptor needs to put a function of ours around the behaviour of a method."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc

__all__ = ["HEALTH", "Behaviour", "Continuation", "Handler", "behaviour_of", "rebuilt"]

HEALTH = "/grpc.health.v1.Health/"  # how the methods of probes begin

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]]
# From a request, or an iterator over requests, and the context to the answer. Behaviour that
# streams its answers writes them to the context and gives None.
Behaviour = Callable[[Any, Any], Awaitable[Any]]

MAKERS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def behaviour_of(handler: Handler) -> Behaviour | None:
    """The behaviour of ``handler`` as one coroutine function, whatever its kind.

    A generator of answers is closed where its call ends. grpc.aio itself leaves the generator of a
    cancelled call to the garbage collector, which may run its ``finally`` much later.

    Returns:
        None for behaviour that is neither a coroutine function nor an asynchronous generator.
    """
    single = handler.stream_unary if handler.request_streaming else handler.unary_unary
    several = handler.stream_stream if handler.request_streaming else handler.unary_stream
    behaviour: Any = several if handler.response_streaming else single
    if inspect.iscoroutinefunction(behaviour):
        return behaviour  # type: ignore[no-any-return]
    if not inspect.isasyncgenfunction(behaviour):
        return None

    async def write_all(request: Any, context: Any) -> None:
        async with aclosing(behaviour(request, context)) as answers:
            async for answer in answers:
                await context.write(answer)

    return write_all


def rebuilt(
    handler: Handler, behaviour: Behaviour, parse: Callable[[bytes], Any] | None = None
) -> Handler:
    """``handler`` with another behaviour and, where ``parse`` is given, another way to read."""
    make: Any = MAKERS[handler.request_streaming, handler.response_streaming]
    return make(  # type: ignore[no-any-return]
        behaviour,
        request_deserializer=parse or handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
