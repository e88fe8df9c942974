"""Why a request gets no transcript, as OpenAI's clients read it."""

from __future__ import annotations

import logging
import math
from typing import Any

import grpc
from starlette.responses import JSONResponse

from server.client import ClientError
from server.errors import shorten

__all__ = ["ApiError", "error_of", "give_up"]

log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0  # after which to try again, where the server does not say


class ApiError(Exception):
    """The end of a request without its answer.

    ``param`` is the field of the request that is at fault, ``code`` one word for programs.
    ``retry_after`` is in seconds. With ``close`` the rest of the request is not read.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = shorten(message)
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.close = close

    @property
    def kind(self) -> str:
        """OpenAI's word for the family of the error."""
        if self.status == 429:
            return "rate_limit_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"

    def body(self) -> dict[str, Any]:
        """The error as JSON has it."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> JSONResponse:
        """The error as an answer."""
        return JSONResponse(self.body(), self.status, self.headers())

    def headers(self) -> dict[str, str]:
        """What goes with the answer. OpenAI's clients prefer the milliseconds."""
        headers = {}
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after)))
            headers["retry-after-ms"] = str(round(self.retry_after * 1000))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        if self.close:
            headers["connection"] = "close"
        return headers


def error_of(error: ClientError) -> ApiError:
    """What is told of a call that failed.

    What the caller can mend is told in the server's words. Of the rest, which may name the machines
    behind the gateway, the log has the words.
    """
    code, details = error.code, error.details
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION):
        return ApiError(400, details)
    if code == grpc.StatusCode.NOT_FOUND:
        return ApiError(404, details, param="model", code="model_not_found")
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return _exhausted(error)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED and "deadline exceeded" not in details.lower():
        return ApiError(408, details, code="too_slow")  # the server's words, and not gRPC's own
    log.error("request %s: %s", error.request_id, error)
    if code == grpc.StatusCode.UNAVAILABLE:
        message = "the recogniser is not available (try again later)"
        again = AGAIN_SECONDS if error.retry_after is None else error.retry_after
        return ApiError(503, message, code="unavailable", retry_after=again)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return ApiError(504, "the recogniser did not answer in time", code="timeout")
    return give_up(error.request_id, 502)


def give_up(request_id: str | None, status: int = 500) -> ApiError:
    """A defect, which only those who read the log can mend."""
    message = f"the request failed; the gateway's log tells more under request {request_id}"
    return ApiError(status, message)


def _exhausted(error: ClientError) -> ApiError:
    """Too many calls, which is over soon; or a call that is too large, which stays so."""
    if error.retry_after is None:
        return ApiError(413, error.details, code="too_large")
    return ApiError(429, error.details, code="rate_limit_exceeded", retry_after=error.retry_after)
