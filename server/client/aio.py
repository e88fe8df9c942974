"""The client for asyncio: the methods of :class:`server.client.sync.Client`, to be awaited."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

import grpc

from server.client.channel import DEFAULT_ADDRESS, Connection, Security, new_request_id
from server.client.errors import ClientError, explain
from server.client.requests import DEFAULT_TIMEOUT, Audio, split, stream_timeout
from server.client.results import (
    Model,
    StreamStarted,
    Transcription,
    read_first,
    read_model,
    read_result,
    read_results,
)
from server.client.retries import DEFAULT_RETRIES, Attempts, RetryPolicy
from server.pb.v1.speech_pb2 import (
    GetModelRequest,
    ListModelsRequest,
    RecognitionConfig,
    TranscribeChunksRequest,
    TranscribeStreamRequest,
    TranscribeStreamResponse,
)
from server.pb.v1.speech_pb2_grpc import SpeechStub

__all__ = ["AsyncClient", "AsyncStream"]

Message = TypeVar("Message")
Result = TypeVar("Result")


class AsyncClient:
    """:class:`~server.client.sync.Client` for asyncio, with the same arguments and errors.

    Make and use it in one event loop, where tasks may share it. A call is ended by cancelling the
    task that awaits it.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        security: Security | None = None,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        self.address = address
        self.timeout = timeout
        self._connection = Connection(address, security or Security(), RetryPolicy(retries))
        self._channel = _open(self._connection, retrying=True)
        # retries.py says why streams have a channel of their own.
        self._stream_channel = _open(self._connection, retrying=False)
        self._stub = SpeechStub(self._channel)  # type: ignore[no-untyped-call]
        self._stream_stub = SpeechStub(self._stream_channel)  # type: ignore[no-untyped-call]

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connections and the calls that are being made."""
        await self._channel.close(None)
        await self._stream_channel.close(None)

    async def transcribe(
        self,
        audio: bytes | BinaryIO,
        config: RecognitionConfig | None = None,
        *,
        request_id: str | None = None,
    ) -> Transcription:
        """Transcribe ``audio``: bytes, or a file opened for reading bytes, in another thread.

        See :meth:`~server.client.sync.Client.transcribe`.
        """
        config = config or RecognitionConfig()
        request_id = request_id or new_request_id()
        source = Audio(audio)
        request = await asyncio.to_thread(source.single_request, config)
        if request is None:
            return await self._upload(source, config, request_id)
        response = await self._ask(self._stub.Transcribe, request, request_id)
        return read_results(response.results)

    async def transcribe_file(
        self,
        path: str | os.PathLike[str],
        config: RecognitionConfig | None = None,
        *,
        request_id: str | None = None,
    ) -> Transcription:
        """Transcribe the file ``path``; see :meth:`transcribe`.

        Raises:
            ClientError: also if the file cannot be read.
        """
        try:
            with open(path, "rb") as file:
                return await self.transcribe(file, config, request_id=request_id)
        except OSError as error:
            raise ClientError(f"the file cannot be read: {error.strerror or error}") from None

    async def stream(
        self,
        pieces: AsyncIterable[bytes],
        config: RecognitionConfig | None = None,
        *,
        request_id: str | None = None,
    ) -> AsyncStream:
        """Transcribe audio while ``pieces`` of it, of any size, are recorded.

        Returns once the server has taken the stream up. The pieces are asked for from then on, in
        another task. Where ``pieces`` raises, the call ends, and the stream raises the same.
        """
        config = config or RecognitionConfig()
        request_id = request_id or new_request_id()
        attempts = Attempts(self._connection.policy, self.timeout)
        while True:
            taken_up = asyncio.Event()
            requests = _Requests(_stream_messages(config, pieces, taken_up))
            call = self._stream_stub.TranscribeStream(
                requests,
                timeout=stream_timeout(self.timeout),
                metadata=self._connection.metadata(request_id),
            )
            responses = aiter(call)
            try:
                started = read_first(await anext(responses, None), request_id)
            except grpc.aio.AioRpcError as error:
                await self._pause_or_raise(attempts, error, request_id)
                continue
            except BaseException:
                call.cancel()
                raise
            taken_up.set()
            return AsyncStream(started, call, responses, requests, self._explain, request_id)

    async def list_models(self, *, request_id: str | None = None) -> tuple[Model, ...]:
        """The server's models, by name."""
        request_id = request_id or new_request_id()
        response = await self._ask(self._stub.ListModels, ListModelsRequest(), request_id)
        return tuple(read_model(model) for model in response.models)

    async def get_model(self, name: str = "", *, request_id: str | None = None) -> Model:
        """The model ``name``; without a name, the server's default model."""
        request_id = request_id or new_request_id()
        response = await self._ask(self._stub.GetModel, GetModelRequest(name=name), request_id)
        return read_model(response.model)

    async def _ask(
        self, method: Callable[..., Awaitable[Any]], request: object, request_id: str
    ) -> Any:
        metadata = self._connection.metadata(request_id)
        try:
            return await method(request, timeout=self.timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise self._explain(error, request_id) from None

    async def _upload(
        self, audio: Audio, config: RecognitionConfig, request_id: str
    ) -> Transcription:
        attempts = Attempts(self._connection.policy, self.timeout)
        while True:
            requests = _Requests(_chunk_messages(config, audio))
            call = self._stream_stub.TranscribeChunks(
                requests,
                timeout=attempts.time_left(),
                metadata=self._connection.metadata(request_id),
            )
            try:
                return read_results((await requests.unless_failed(call)).results)
            except grpc.aio.AioRpcError as error:
                if not audio.can_rewind:
                    raise self._explain(error, request_id) from None
                await self._pause_or_raise(attempts, error, request_id)
                await asyncio.to_thread(audio.rewind)

    async def _pause_or_raise(
        self, attempts: Attempts, error: grpc.aio.AioRpcError, request_id: str
    ) -> None:
        """Wait as long as it takes before the next attempt, or say why there is none."""
        pause = attempts.pause_after(error.code(), error.trailing_metadata())
        if pause is None:
            raise self._explain(error, request_id) from None
        await asyncio.sleep(pause)

    def _explain(self, error: grpc.aio.AioRpcError, request_id: str) -> ClientError:
        return explain(
            error.code(),
            error.details(),
            address=self.address,
            timeout=self.timeout,
            request_id=request_id,
        )


class AsyncStream(AsyncIterator[Transcription]):
    """The results of :meth:`AsyncClient.stream`; ``started`` is what the server said of it.

    A bidirectional model (``started.answers_at_end``) gives one result, after the audio's end.
    """

    def __init__(
        self,
        started: StreamStarted,
        call: Any,
        responses: AsyncIterator[TranscribeStreamResponse],
        requests: _Requests[TranscribeStreamRequest],
        explain: Callable[[grpc.aio.AioRpcError, str], ClientError],
        request_id: str,
    ) -> None:
        self.started = started
        self.request_id = request_id
        self._call = call
        self._responses = responses
        self._requests = requests
        self._explain = explain

    async def __anext__(self) -> Transcription:
        try:
            response = await self._requests.unless_failed(anext(self._responses))
        except grpc.aio.AioRpcError as error:
            raise self._explain(error, self.request_id) from None
        return read_result(response.result)

    def cancel(self) -> None:
        """End the call without the results that are still to come."""
        self._call.cancel()


class _Requests(AsyncIterator[Message]):
    """``messages`` as gRPC's task consumes them.

    An error in them would be lost there and look like the caller's own cancellation. Here it waits
    to be raised.
    """

    def __init__(self, messages: AsyncIterator[Message]) -> None:
        self._messages = messages
        self._error: BaseException | None = None

    async def __anext__(self) -> Message:
        try:
            return await anext(self._messages)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self._error = error
            raise

    async def unless_failed(self, result: Awaitable[Result]) -> Result:
        """``result``, or what the messages raised instead."""
        try:
            return await result
        except asyncio.CancelledError:
            if self._error is not None:
                raise self._error from None
            raise


async def _chunk_messages(
    config: RecognitionConfig, audio: Audio
) -> AsyncIterator[TranscribeChunksRequest]:
    yield TranscribeChunksRequest(config=config)
    pieces = audio.pieces()
    while (piece := await asyncio.to_thread(next, pieces, b"")) != b"":
        yield TranscribeChunksRequest(audio_content=piece)


async def _stream_messages(
    config: RecognitionConfig, pieces: AsyncIterable[bytes], taken_up: asyncio.Event
) -> AsyncIterator[TranscribeStreamRequest]:
    """No piece is asked for until the server has taken the stream up: none gets lost if not."""
    yield TranscribeStreamRequest(config=config)
    await taken_up.wait()
    async for piece in pieces:
        for part in split(piece):
            yield TranscribeStreamRequest(audio_content=part)


def _open(connection: Connection, *, retrying: bool) -> grpc.aio.Channel:
    credentials, options = connection.credentials(), connection.options(retrying=retrying)
    if credentials is None:
        return grpc.aio.insecure_channel(connection.address, options)
    return grpc.aio.secure_channel(connection.address, credentials, options)
