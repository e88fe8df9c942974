"""WebSockets: audio in, what is said out, while somebody speaks."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.client import (
    END_OF_SEGMENT,
    AsyncClient,
    AsyncStream,
    ClientError,
    LivePiece,
    LiveResult,
)
from server.http.admission import Admission
from server.http.door import check_key, check_origin
from server.http.errors import ApiError, error_of, give_up
from server.http.forms import Form, Native, Vosk
from server.http.metrics import LIVE, GatewayMetrics
from server.http.options import GatewayOptions
from server.http.wishes import Wishes
from server.telemetry.logs import FIELDS
from server.timeout import within
from server.transport.authentication import Tokens

__all__ = ["Sockets"]

log = logging.getLogger(__name__)

# Codes with which a socket is closed (RFC 6455, 7.4.1).
NORMAL, POLICY, TOO_LARGE, DEFECT, RESTART, TRY_LATER = 1000, 1008, 1009, 1011, 1012, 1013
SHOWN = 100  # characters of a model's name in the log
CODES = {413: TOO_LARGE, 429: TRY_LATER, 503: TRY_LATER}


class Sockets:
    """Serves WebSockets by live streams at the server of ``client``."""

    def __init__(
        self,
        client: AsyncClient,
        admission: Admission,
        options: GatewayOptions,
        keys: Tokens | None,
        metrics: GatewayMetrics,
    ) -> None:
        self._metrics = metrics
        self._client = client
        self._admission = admission
        self._options = options
        self._keys = keys
        self._stopping = asyncio.Event()
        self._open: set[asyncio.Task[Any]] = set()

    async def drain(self, seconds: float) -> None:
        """End the audio of every socket where it is, and let it tell what was said."""
        self._stopping.set()
        if self._open:
            await asyncio.wait(self._open, timeout=seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of ASGI: one WebSocket."""
        websocket = WebSocket(scope, receive, send)
        with self._metrics.visit(LIVE) as visit:
            try:
                visit.status = await self._serve(websocket)
            except ApiError as error:
                visit.status = error.status
                await websocket.send_denial_response(error.response())
            except WebSocketDisconnect:
                pass  # before it was accepted

    async def _serve(self, websocket: WebSocket) -> int:
        """Returns the code with which the socket was closed."""
        check_origin(websocket.headers, self._options.origins)
        # Browsers cannot send the header: they show the key in their first message.
        has_key = self._keys is None or "authorization" in websocket.headers
        if has_key:
            check_key(websocket.headers, self._keys)
        with self._admission.socket():
            await websocket.accept()
            return await self._talk(websocket, None if has_key else self._keys)

    async def _talk(self, websocket: WebSocket, keys: Tokens | None) -> int:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        talk = Conversation(websocket, self._client, self._options, keys, self._stopping)
        try:
            return await talk.run()
        finally:
            self._open.discard(task)


class Conversation:
    """One WebSocket from its first message to its last.

    Args:
        keys: one of which the first message has to show; None: it need not.
    """

    def __init__(
        self,
        websocket: WebSocket,
        client: AsyncClient,
        options: GatewayOptions,
        keys: Tokens | None,
        stopping: asyncio.Event,
    ) -> None:
        self._websocket = websocket
        self._client = client
        self._options = options
        self._keys = keys
        self._stopping = asyncio.ensure_future(stopping.wait())
        self._request_id: str = websocket.state.request_id
        self._wishes = Wishes()
        self._pieces: asyncio.Queue[LivePiece | None] = asyncio.Queue(1)
        self._coming: asyncio.Future[Any] | None = None  # the next message
        self._stream: AsyncStream[LiveResult] | None = None
        self._form: Form | None = None
        self._telling: asyncio.Future[None] | None = None
        self._patient_until = asyncio.get_running_loop().time() + options.idle_seconds

    async def run(self) -> int:
        """Talk until one side ends it; an error is told before.

        Returns the code with which the socket was closed.
        """
        code = DEFECT
        try:
            code = await self._talk()
        except WebSocketDisconnect as error:
            code = error.code
        except ApiError as error:
            code = await self._tell_error(error)
        except ClientError as failure:
            code = await self._tell_error(error_of(failure))
        except Exception as defect:
            log.error("request %s failed", self._request_id, exc_info=defect)
            code = await self._tell_error(give_up(self._request_id))
        finally:
            await self._release()
        model = self._wishes.model[:SHOWN]
        fields = {"request_id": self._request_id, "model": model, "code": code}
        log.info("socket", extra={FIELDS: fields})
        return code

    async def _talk(self) -> int:
        """Returns the code with which the socket was closed."""
        while (message := await self._next()) is not None:
            if isinstance(message, bytes):
                await self._hear(message)
            elif "config" in message:
                await self._configure(message["config"])
            elif "eof" in message:
                break
            elif "end_segment" in message and self._wishes.native:
                await self._hand_on(END_OF_SEGMENT)
            else:
                raise ApiError(400, "a message is none of config, eof and end_segment")
        await self._finish()
        code = RESTART if self._stopping.done() else NORMAL
        await self._websocket.close(code)
        return code

    async def _next(self) -> bytes | dict[str, Any] | None:
        """The client's next message; None where no more will be heard: the server has ended the
        stream, or the gateway stops.
        """
        self._coming = self._coming or asyncio.ensure_future(self._websocket.receive())
        waiting: set[asyncio.Future[Any]] = {self._coming, self._stopping}
        if self._telling is not None:
            waiting.add(self._telling)
        patience = None
        if self._telling is None:
            patience = max(0.0, self._patient_until - asyncio.get_running_loop().time())
        await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if self._telling is not None and self._telling.done():
            await self._telling  # raises what it raised
            return None
        if self._coming.done():
            message, self._coming = self._coming.result(), None
            return _parse(message)
        if self._stopping.done():
            return None
        raise ApiError(408, f"no audio came for {self._options.idle_seconds:g} s", code="too_slow")

    async def _configure(self, values: object) -> None:
        if self._keys is not None and isinstance(values, dict):
            key = values.get("api_key")
            if not isinstance(key, str) or key not in self._keys:
                raise ApiError(401, "the key is wrong or missing", code="invalid_api_key")
            self._keys = None
        if self._stream is not None:
            raise ApiError(400, "config comes before audio", param="config")
        if isinstance(values, dict) and values.get("native") == 1:  # errors have its form, too
            self._wishes = replace(self._wishes, native=True)
        self._wishes = self._wishes.updated(values)
        if self._wishes.native:
            if not self._wishes.encoding:
                self._wishes = replace(self._wishes, encoding="LINEAR16")
            await self._begin()

    async def _hear(self, audio: bytes) -> None:
        if self._stream is None:
            self._wishes = self._wishes.for_audio(audio)
            await self._begin()
        assert self._form is not None
        if audio:
            await self._hand_on(audio)
        await self._form.taken(self._wishes.seconds_of(len(audio)))

    async def _begin(self) -> None:
        if self._keys is not None:
            raise ApiError(401, "the first message has to show a key", code="invalid_api_key")
        if self._wishes.has_samples and not self._wishes.sample_rate:
            model = await self._client.get_model(self._wishes.model, request_id=self._request_id)
            self._wishes = replace(self._wishes, sample_rate=model.sample_rate)
        config = self._wishes.config()
        self._form = Native(self._send) if self._wishes.native else Vosk(self._send, self._wishes)
        opening = self._client.live(self._audio(), config, request_id=self._request_id)
        try:
            self._stream = await within(self._options.timeout, opening)
        except asyncio.TimeoutError:
            raise ApiError(504, "the recogniser did not answer in time", code="timeout") from None
        await self._form.begun(self._stream.started)
        self._telling = asyncio.ensure_future(self._tell(self._stream, self._form))

    async def _audio(self) -> AsyncIterator[LivePiece]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def _hand_on(self, piece: LivePiece | None) -> None:
        """Wait until the server takes the piece, or has ended the stream."""
        if self._telling is None:
            raise ApiError(400, "end_segment comes after config", param="end_segment")
        putting = asyncio.ensure_future(self._pieces.put(piece))
        try:
            await asyncio.wait({putting, self._telling}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()

    async def _tell(self, stream: AsyncStream[LiveResult], form: Form) -> None:
        async for result in stream:
            await form.said(result)

    async def _finish(self) -> None:
        """End the audio, and tell what is left to be told."""
        if self._telling is None or self._form is None:
            await self._send({"type": "done"} if self._wishes.native else {"text": ""})
            return
        await self._hand_on(None)
        while not self._telling.done():
            await self._next_while_finishing(self._telling)
        try:
            await self._telling
        except ClientError as error:
            # A stop may cut the audio anywhere, which is not the client's mistake.
            if not self._stopping.done() or error.code != grpc.StatusCode.INVALID_ARGUMENT:
                raise
        await self._form.ended()

    async def _next_while_finishing(self, telling: asyncio.Future[None]) -> None:
        """Nothing more is heard of the client, but whether it goes."""
        self._coming = self._coming or asyncio.ensure_future(self._websocket.receive())
        await asyncio.wait({self._coming, telling}, return_when=asyncio.FIRST_COMPLETED)
        if self._coming.done():
            message, self._coming = self._coming.result(), None
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", DEFECT))

    async def _send(self, values: dict[str, Any]) -> None:
        await self._websocket.send_text(json.dumps(values, ensure_ascii=False))

    async def _tell_error(self, error: ApiError) -> int:
        code = CODES.get(error.status, POLICY if error.status < 500 else DEFECT)
        values = error.body()
        if self._wishes.native:
            values["type"] = "error"
        try:
            await self._send(values)
            await self._websocket.close(code)
        except (WebSocketDisconnect, RuntimeError, OSError):
            pass  # it has gone meanwhile
        return code

    async def _release(self) -> None:
        if self._stream is not None:
            self._stream.cancel()
        tasks = {task for task in (self._coming, self._telling, self._stopping) if task is not None}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if self._telling is not None and not self._telling.cancelled():
            self._telling.exception()  # asked for, or asyncio would complain


def _parse(message: dict[str, Any]) -> bytes | dict[str, Any]:
    """Audio, or an object of JSON.

    Raises:
        WebSocketDisconnect: the client has gone.
        ApiError: it is neither.
    """
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", DEFECT))
    if message.get("bytes") is not None:
        return bytes(message["bytes"])
    try:
        values = json.loads(message["text"])
        json.dumps(values, ensure_ascii=False).encode()  # JSON has halves of characters as well
    except (ValueError, RecursionError):
        raise ApiError(400, "a text message is not JSON (audio is sent in binary ones)") from None
    if not isinstance(values, dict):
        raise ApiError(400, "a text message is no object of JSON")
    return values
