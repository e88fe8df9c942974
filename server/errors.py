"""Why a call gets no transcript: a status, a word for the statistics, a line for the client."""

from __future__ import annotations

import logging
import random

import grpc

from asr.types import AsrError, AudioError, DeviceMemoryError, MissingPackageError
from server.telemetry.records import Cause
from server.transport.parsing import MessageError

__all__ = ["Refusal", "refusal_of", "shorten"]

log = logging.getLogger(__name__)

# A message may quote what the client sent. As a header it must stay far below gRPC's 8 KiB, and a
# character beyond ASCII takes up to twelve bytes there.
MAX_STATUS_CHARACTERS = 500
RETRY_MILLISECONDS = (250, 1000)


class Refusal(Exception):  # noqa: N818
    """The end of a call without its answer.

    ``cause`` is one word for metrics and logs, ``message`` is for the client. A call refused for
    want of room may ``retry``: it is told when, and not all are told the same time.
    """

    def __init__(
        self, code: grpc.StatusCode, cause: Cause, message: str, *, retry: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.cause = cause
        self.message = shorten(message)
        self.retry = retry

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Trailing metadata that gRPC clients with a retry policy obey."""
        if not self.retry:
            return ()
        return (("grpc-retry-pushback-ms", str(random.randint(*RETRY_MILLISECONDS))),)


def refusal_of(error: Exception, request_id: str) -> Refusal:
    """What the client is told of ``error``.

    What a user can mend is told in full but for the place; of a defect, only the number that the
    log tells the rest under.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, DeviceMemoryError):
        return Refusal(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "memory",
            "the model has not enough memory for this audio (send it in shorter pieces)",
        )
    if isinstance(error, MissingPackageError):
        code = grpc.StatusCode.FAILED_PRECONDITION
        return Refusal(code, "options", f"on the server, {error.public_message()}")
    if isinstance(error, AsrError):
        return Refusal(grpc.StatusCode.INVALID_ARGUMENT, _cause_of(error), error.public_message())
    log.error("request %s failed", request_id, exc_info=error)
    return Refusal(
        grpc.StatusCode.INTERNAL,
        "defect",
        f"the server failed; its log tells more under request {request_id}",
    )


def _cause_of(error: AsrError) -> Cause:
    if isinstance(error, AudioError):
        return "audio"
    return "message" if isinstance(error, MessageError) else "options"


def shorten(message: str) -> str:
    """``message`` on one line of at most ``MAX_STATUS_CHARACTERS``."""
    # Cut before splitting: the message may quote megabytes.
    line = " ".join(message[: 2 * MAX_STATUS_CHARACTERS].split())
    if len(line) <= MAX_STATUS_CHARACTERS:
        return line
    return line[: MAX_STATUS_CHARACTERS - 1] + "…"
