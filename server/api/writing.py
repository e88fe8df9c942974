"""Messages to a client that has to read them."""

from __future__ import annotations

import asyncio
from typing import Protocol

import grpc

from server.errors import Refusal
from server.pb.v1.speech_pb2 import TranscribeStreamResponse
from server.timeout import within

__all__ = ["Listener", "write_within"]


class Listener(Protocol):
    """Takes what a stream answers: a call's context, or what translates for one."""

    async def write(self, message: TranscribeStreamResponse) -> None: ...


async def write_within(
    seconds: float, listener: Listener, message: TranscribeStreamResponse
) -> None:
    """Give ``message`` to ``listener``.

    Raises:
        Refusal: it does not read what was written before within ``seconds``.
    """
    try:
        await within(seconds, listener.write(message))
    except asyncio.TimeoutError:
        raise Refusal(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "idle",
            f"results were not read for {seconds:g} s (read them as they come)",
        ) from None
