"""Why there is no answer, in words that help whoever made the call."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import grpc

__all__ = ["ClientError", "explain", "no_answer", "pushback_of"]

PUSHBACK = "grpc-retry-pushback-ms"


class ClientError(Exception):
    """No answer, and why, in one line.

    ``code`` is the status, None where no server was asked. ``request_id`` names the call in the
    server's log. ``details`` is the server's own message, and ``retry_after`` the seconds after
    which it asks to be tried again; None: it does not ask.
    """

    def __init__(
        self,
        message: str,
        code: grpc.StatusCode | None = None,
        request_id: str | None = None,
        *,
        details: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code
        self.request_id = request_id
        self.details = details
        self.retry_after = retry_after


def pushback_of(metadata: Iterable[Any] | None) -> float | None:
    """The seconds of gRPC's pushback in trailing ``metadata``, pairs of key and value.

    None: there is none. ``inf``: there is one that says not to try again, which a negative or
    unreadable one means (gRFC A6).
    """
    for key, value in metadata or ():
        if key == PUSHBACK:
            return int(value) / 1000 if value.isascii() and value.isdigit() else math.inf
    return None


def explain(status: Any, *, address: str, timeout: float, request_id: str) -> ClientError:
    """The failed call ``status``, of grpc or grpc.aio, as an error that names the remedy."""
    code: grpc.StatusCode = status.code()
    details: str = status.details() or ""
    told = _message(code, details, address, timeout)
    # Nobody but the server's own people can mend the rest, and they need the log.
    message = told or f"{address} answered {code.name}: {details} (request {request_id})"
    pushback = pushback_of(status.trailing_metadata())
    retry_after = pushback if pushback is not None and math.isfinite(pushback) else None
    return ClientError(message, code, request_id, details=details, retry_after=retry_after)


def no_answer(address: str, timeout: float) -> str:
    """What is said when ``timeout`` seconds are over."""
    return f"no answer from {address} within {timeout:g} s (allow more time)"


def _message(code: grpc.StatusCode, details: str, address: str, timeout: float) -> str | None:
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND):
        return details  # the server says what is wrong, and with it the remedy
    if code == grpc.StatusCode.UNAVAILABLE:
        return _unavailable(details, address)
    if code == grpc.StatusCode.UNAUTHENTICATED:
        return f"{address} refuses the token or its absence: {details} (give --token-file)"
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" not in details:
        return f"the server at {address} is full: {details} (try again later)"
    # The server's own DEADLINE_EXCEEDED says which of its limits was passed.
    if code == grpc.StatusCode.DEADLINE_EXCEEDED and "deadline exceeded" in details.lower():
        return no_answer(address, timeout)
    return None


def _unavailable(details: str, address: str) -> str:
    """The details here are gRPC's own, from `src/core` of gRPC: there is no code for TLS."""
    if "WRONG_VERSION_NUMBER" in details:
        return f"the TLS handshake with {address} failed: it does not speak TLS (connect without)"
    if "handshake failed" in details.lower():
        found = re.search(r"CERTIFICATE_VERIFY_FAILED: (.*?)(: OK)?$", details)
        reason = f"its certificate: {found.group(1)}" if found else details
        return f"the TLS handshake with {address} failed: {reason} (check --tls-ca)"
    if "Hostname Verification" in details:
        return f"the certificate of {address} is for another name (check --address and --tls-ca)"
    remedy = "check that asr-server is running there"
    if "Socket closed" in details:
        remedy += (
            ", and whether it wants TLS (--tls-ca) or a client certificate (--tls-certificate)"
        )
    return f"the server at {address} is not available: {details} ({remedy})"
