"""Why there is no answer, in words that help whoever made the call."""

from __future__ import annotations

import re
from typing import Any

import grpc

__all__ = ["ClientError", "explain"]


class ClientError(Exception):
    """No answer, and why, in one line.

    ``code`` is the status, None where no server was asked. ``request_id`` names the call in the
    server's log.
    """

    def __init__(
        self,
        message: str,
        code: grpc.StatusCode | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code
        self.request_id = request_id


def explain(status: Any, *, address: str, timeout: float, request_id: str) -> ClientError:
    """The failed call ``status``, which has ``code()`` and ``details()``, as an error that names
    the remedy.
    """
    code: grpc.StatusCode = status.code()
    details: str = status.details() or ""
    told = _message(code, details, address, timeout)
    # Nobody but the server's own people can mend the rest, and they need the log.
    message = told or f"{address} answered {code.name}: {details} (request {request_id})"
    return ClientError(message, code, request_id)


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
        return f"no answer from {address} within {timeout:g} s (allow more time)"
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
