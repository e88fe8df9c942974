"""What every request passes: its name, its key, its line in the log, and its error if it fails."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.client import ClientError
from server.client.channel import name_call
from server.http.errors import ApiError, error_of, give_up
from server.http.metrics import GONE, GatewayMetrics, door_of
from server.telemetry.logs import FIELDS
from server.timeout import within
from server.transport.authentication import Tokens

__all__ = ["Door", "check_key", "check_origin"]

log = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
LEFT_SECONDS = 2.0  # in which a refused request's sender has to end
LEFT_BYTES = 8 * 1024 * 1024  # of a refused body that are read, so that its sender reads the answer


class Door:
    """The middleware around everything; WebSockets get their name here and nothing else.

    Args:
        keys: of clients; None: anybody may ask. What ``app`` serves outside ``/v1/`` needs none.
        origins: pages of other sites that may ask.
        metrics: count every request.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: GatewayMetrics,
        keys: Tokens | None = None,
        origins: tuple[str, ...] = (),
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._keys = keys
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of ASGI."""
        headers = Headers(scope=scope)
        request_id = _name(headers.get(REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = request_id
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, request_id)
        begun = time.monotonic()
        with self._metrics.visit(door_of(scope["path"])) as visit:
            try:
                await self._serve(scope, headers, receive, answer)
            except (ClientDisconnect, OSError):
                answer.status = GONE
            visit.status = answer.status
        _log_request(scope, answer.status, request_id, time.monotonic() - begun)

    async def _serve(
        self, scope: Scope, headers: Headers, receive: Receive, answer: _Answer
    ) -> None:
        request_id = answer.request_id
        try:
            check_origin(headers, self._origins)
            if scope["path"].startswith("/v1/"):
                check_key(headers, self._keys)
            await self._app(scope, receive, answer)
            return
        except ApiError as refusal:
            error = refusal
        except ClientError as failure:
            error = error_of(failure)
        except (ClientDisconnect, OSError):
            raise
        except Exception as defect:
            log.error("request %s failed", request_id, exc_info=defect)
            error = give_up(request_id)
        if not answer.begun:
            await _refuse(error, scope, receive, answer)


class _Answer:
    """``send``, with the request's name in the headers; knows what was sent."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun, self.status = True, message["status"]
            MutableHeaders(scope=message)[REQUEST_ID] = self.request_id
        await self._send(message)


async def _refuse(error: ApiError, scope: Scope, receive: Receive, answer: _Answer) -> None:
    """Send the error; where the body is not wanted, its sender has to stop before it reads."""
    if not error.close:
        await error.response()(scope, receive, answer)
        return

    async def unfinished(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "more_body": True}
        await answer(message)

    await error.response()(scope, receive, unfinished)
    with suppress(asyncio.TimeoutError):  # it sends nothing more, or does not stop
        await within(LEFT_SECONDS, _read_rest(receive))
    await answer({"type": "http.response.body", "body": b"", "more_body": False})


async def _read_rest(receive: Receive) -> None:
    """Read what is left of a body that nobody wants, within reason."""
    left = LEFT_BYTES
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return


def check_key(headers: Headers, keys: Tokens | None) -> None:
    """Raise ApiError unless ``headers`` have one of ``keys``, or there are none."""
    if keys is None:
        return
    given = headers.getlist("authorization")
    if not given:
        raise _no_key("a key is missing: send `Authorization: Bearer KEY`")
    scheme, _, key = given[0].partition(" ")
    right = key.strip() in keys
    if not right or len(given) != 1 or scheme.lower() != "bearer":
        raise _no_key("the key is wrong")


def check_origin(headers: Headers, origins: tuple[str, ...]) -> None:
    """Raise ApiError where a page of another site asks, by the browser of somebody who sees it."""
    origin = headers.get("origin")
    if origin is None or origin in origins:
        return
    if not _is_of(origin, headers.get("host")):
        raise ApiError(
            403,
            "a page of another site may not ask here (the operator can allow it: --allow-origin)",
            code="origin_not_allowed",
            close=True,
        )


def _is_of(origin: str, host: str | None) -> bool:
    try:
        return urlsplit(origin).netloc == host
    except ValueError:  # brackets of an address that is none
        return False


def _no_key(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", close=True)


def _name(given: str | None) -> str:
    """The client's own name for its request, if it can be one."""
    with suppress(ClientError):
        return name_call(given)
    return name_call(None)


def _log_request(scope: Scope, status: int, request_id: str, seconds: float) -> None:
    fields = {
        "request_id": request_id,
        "method": scope["method"][:20],
        "path": scope["path"][:100],
        "status": status,
        "seconds": round(seconds, 6),
    }
    log.info("request", extra={FIELDS: fields})
