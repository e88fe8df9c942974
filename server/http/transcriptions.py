"""``POST /v1/audio/transcriptions``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from server.client import (
    AsyncClient,
    AsyncStream,
    ClientError,
    LiveResult,
    RecognitionConfig,
    StreamingRecognitionConfig,
)
from server.http.admission import Admission
from server.http.answers import answer
from server.http.errors import error_of
from server.http.form import Wanted, read_wanted
from server.http.options import GatewayOptions
from server.pb.v1.speech_pb2 import LATENCY_HIGH

__all__ = ["Deltas", "Transcriptions"]

PROMPT_IGNORED = "x-prompt-ignored"  # a header: the server's words about the prompt


class Transcriptions:
    """Answers a form with what was said in its file, by the server of ``client``."""

    def __init__(self, client: AsyncClient, admission: Admission, options: GatewayOptions) -> None:
        self._client = client
        self._admission = admission
        self._options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of ASGI: one request. If its client goes, so does the call at the server."""
        request = Request(scope, receive)
        options = self._options
        with self._admission.request() as place:
            wanted = await read_wanted(request, place, options.idle_seconds, options.language)

            async def respond() -> None:
                response = await self._response(wanted, request.state.request_id)
                await response(scope, receive, send)

            await _unless_gone(receive, respond())

    async def _response(self, wanted: Wanted, request_id: str) -> Response:
        *with_prompt, without = wanted.configs()
        refusal = ""
        for config in with_prompt:
            try:
                return await self._attempt(wanted, config, request_id)
            except ClientError as error:
                if error.code != grpc.StatusCode.INVALID_ARGUMENT:
                    raise
                refusal = error.details
        response = await self._attempt(wanted, without, request_id)
        if with_prompt:
            response.headers[PROMPT_IGNORED] = refusal.encode("ascii", "replace").decode()
        return response

    async def _attempt(
        self, wanted: Wanted, config: RecognitionConfig, request_id: str
    ) -> Response:
        if not wanted.stream:
            said = await self._client.transcribe(wanted.audio, config, request_id=request_id)
            return answer(wanted, said, self._options.language)
        events = await self._events(wanted, config, request_id)
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")

    async def _events(
        self, wanted: Wanted, config: RecognitionConfig, request_id: str
    ) -> AsyncIterator[str]:
        """The events, once it is known that there will be some: what is refused has a status."""
        model = await self._client.get_model(wanted.model, request_id=request_id)
        if model.answers_at_end:
            said = await self._client.transcribe(wanted.audio, config, request_id=request_id)
            return _whole(said.text)
        live = StreamingRecognitionConfig(config=config, interim_results=True, latency=LATENCY_HIGH)
        stream = await self._client.live(_one(wanted.audio), live, request_id=request_id)
        try:
            return _growing(stream, await anext(stream, None))
        except BaseException:
            stream.cancel()
            raise


class Deltas:
    """The text that can no longer change, and what each result adds to it.

    Later results of a segment begin with what was settled of it, and so does the final one.
    """

    def __init__(self) -> None:
        self.text = ""
        self._told = 0  # characters of the segment

    def of(self, result: LiveResult) -> str:
        """The text that ``result`` adds, with the space before it."""
        delta = result.settled[self._told :]
        if delta and self.text and not self._told:
            delta = " " + delta
        self._told = 0 if result.is_final else len(result.settled)
        self.text += delta
        return delta


async def _growing(
    stream: AsyncStream[LiveResult], result: LiveResult | None
) -> AsyncIterator[str]:
    deltas = Deltas()
    try:
        while result is not None:
            if delta := deltas.of(result):
                yield _event("transcript.text.delta", delta=delta)
            result = await anext(stream, None)
        yield _event("transcript.text.done", text=deltas.text)
    except ClientError as error:  # too late for a status
        yield f"event: error\ndata: {json.dumps(error_of(error).body())}\n\n"
    finally:
        stream.cancel()


async def _whole(text: str) -> AsyncIterator[str]:
    if text:
        yield _event("transcript.text.delta", delta=text)
    yield _event("transcript.text.done", text=text)


def _event(kind: str, **values: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **values}, ensure_ascii=False)}\n\n"


async def _one(audio: bytes) -> AsyncIterator[bytes]:
    yield audio


async def _unless_gone(receive: Receive, work: Awaitable[None]) -> None:
    """Do ``work``, whose request has been read, unless the client goes meanwhile.

    Raises:
        ClientDisconnect: it has gone.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(receive))
    either: set[asyncio.Future[None]] = {working, watching}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        await working  # raises what it raised
    finally:
        for task in either:
            task.cancel()
        await asyncio.wait(either)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
