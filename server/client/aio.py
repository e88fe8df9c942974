"""The client for asyncio: the methods of :class:`server.client.sync.Client`, to be awaited."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, BinaryIO, Generic, TypeVar

import grpc

from server.client.channel import DEFAULT_ADDRESS, Connection, Security, name_call
from server.client.errors import ClientError, explain
from server.client.requests import DEFAULT_TIMEOUT, Audio
from server.client.results import LiveResult, Model, Transcription, read_model
from server.client.retries import DEFAULT_RETRIES, RetryPolicy
from server.client.streams import Cancel, LivePiece, Said, Stream, StreamCalls
from server.client.turns import read_results
from server.pb.v1.speech_pb2 import (
    GetModelRequest,
    ListModelsRequest,
    RecognitionConfig,
    StreamingRecognitionConfig,
)
from server.pb.v1.speech_pb2_grpc import SpeechStub

__all__ = ["AsyncClient", "AsyncStream"]

# Uploads and streams at once, a thread each; threads are made when they are needed.
MAX_STREAMS = 256

Result = TypeVar("Result")
Piece = TypeVar("Piece", bound=LivePiece)


class AsyncClient:
    """:class:`~server.client.sync.Client` for asyncio, with the same arguments and errors.

    Make and use it in one event loop, where tasks may share it. A call is ended by cancelling the
    task that awaits it. Uploads in pieces and streams take a thread each while they last.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        security: Security | None = None,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        self.timeout = timeout
        self._connection = Connection(address, security or Security(), RetryPolicy(retries))
        self.address = self._connection.address
        self._channel = _open(self._connection)
        self._stub = SpeechStub(self._channel)  # type: ignore[no-untyped-call]
        self._streams = StreamCalls(self._connection, timeout)
        self._threads = ThreadPoolExecutor(MAX_STREAMS, "asr-client")

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
        self._streams.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._channel.close(None)

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
        request_id = name_call(request_id)
        source = Audio(audio)
        request = await asyncio.to_thread(source.single_request, config)
        if request is None:
            upload, cancel = self._streams.upload, Cancel()
            return await self._in_thread(cancel, upload, source, config, request_id, cancel)
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
    ) -> AsyncStream[Transcription]:
        """Send audio while its ``pieces``, of any size, are recorded, and transcribe it at its end.

        Returns once the server has taken the stream up. The pieces are asked for from then on, in
        another task. Where ``pieces`` raises, the call ends, and the stream raises the same.
        """
        config = config or RecognitionConfig()
        request_id = name_call(request_id)
        audio, cancel = _FromLoop(pieces), Cancel()
        stream = await self._in_thread(
            cancel, self._streams.open, audio, config, request_id, cancel
        )
        return AsyncStream(stream, audio, self._in_thread)

    async def live(
        self,
        pieces: AsyncIterable[LivePiece],
        config: StreamingRecognitionConfig,
        *,
        request_id: str | None = None,
    ) -> AsyncStream[LiveResult]:
        """Transcribe audio while ``pieces`` of it, of any size, are recorded.

        See :meth:`~server.client.sync.Client.live`, and :meth:`stream`.
        """
        request_id = name_call(request_id)
        audio, cancel = _FromLoop(pieces), Cancel()
        stream = await self._in_thread(
            cancel, self._streams.open_live, audio, config, request_id, cancel
        )
        return AsyncStream(stream, audio, self._in_thread)

    async def list_models(self, *, request_id: str | None = None) -> tuple[Model, ...]:
        """The server's models, by name."""
        request_id = name_call(request_id)
        response = await self._ask(self._stub.ListModels, ListModelsRequest(), request_id)
        return tuple(read_model(model) for model in response.models)

    async def get_model(self, name: str = "", *, request_id: str | None = None) -> Model:
        """The model ``name``; without a name, the server's default model."""
        request_id = name_call(request_id)
        response = await self._ask(self._stub.GetModel, GetModelRequest(name=name), request_id)
        return read_model(response.model)

    async def _ask(
        self, method: Callable[..., Awaitable[Any]], request: object, request_id: str
    ) -> Any:
        metadata = self._connection.metadata(request_id)
        try:
            return await method(request, timeout=self.timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise explain(
                error, address=self.address, timeout=self.timeout, request_id=request_id
            ) from None

    async def _in_thread(
        self, cancel: Callable[[], None], function: Callable[..., Result], *arguments: object
    ) -> Result:
        """What ``function`` returns or raises; ``cancel`` ends it where the task is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, function, *arguments)
        except asyncio.CancelledError:
            cancel()
            raise


class AsyncStream(AsyncIterator[Said], Generic[Said]):
    """The results of :meth:`AsyncClient.stream`, or :meth:`AsyncClient.live`; ``started`` is what
    the server said of it.
    """

    def __init__(
        self,
        stream: Stream[Said],
        audio: _FromLoop[Any],
        in_thread: Callable[..., Awaitable[Any]],
    ) -> None:
        self.started = stream.started
        self.request_id = stream.request_id
        self._stream = stream
        self._audio = audio
        self._in_thread = in_thread

    async def __anext__(self) -> Said:
        try:
            result: Said | None = await self._in_thread(self.cancel, next, self._stream, None)
        except BaseException:
            self._audio.close()
            raise
        if result is None:
            self._audio.close()
            raise StopAsyncIteration
        return result

    def cancel(self) -> None:
        """End the call without the results that are still to come."""
        self._audio.close()
        self._stream.cancel()


class _FromLoop(Iterator[Piece]):
    """The pieces of the event loop's ``pieces``, for another thread."""

    def __init__(self, pieces: AsyncIterable[Piece]) -> None:
        self._pieces = aiter(pieces)
        self._loop = asyncio.get_running_loop()
        self._next: Future[Piece | None] | None = None
        self._closed = False

    def __next__(self) -> Piece:
        if self._closed:
            raise StopIteration
        self._next = asyncio.run_coroutine_threadsafe(self._step(), self._loop)
        if self._closed:  # meanwhile, by the loop's thread
            self._next.cancel()
        piece = self._next.result()
        if piece is None:
            raise StopIteration
        return piece

    def close(self) -> None:
        """Wait for no more of them."""
        self._closed = True
        if self._next is not None:
            self._next.cancel()

    async def _step(self) -> Piece | None:
        return await anext(self._pieces, None)


def _open(connection: Connection) -> grpc.aio.Channel:
    credentials, options = connection.credentials(), connection.options(retrying=True)
    if credentials is None:
        return grpc.aio.insecure_channel(connection.address, options)
    return grpc.aio.secure_channel(connection.address, credentials, options)
