"""The client for threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
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

__all__ = ["Client", "Stream"]

Message = TypeVar("Message")


class Client:
    """Connections to the server at ``address``, made at the first call.

    Args:
        address: host:port, or any target of gRPC; a ``dns:///host:port`` is balanced round robin.
        timeout: how long a call may take with all its attempts, in seconds.
        security: TLS and token; see :class:`Security`.
        retries: more attempts, 0 to 4, where the server is full or away. A call in one message is
            repeated by gRPC. An upload in pieces is repeated from its first byte if the audio is
            bytes or a file that can be read again; one that comes through a pipe is not. A stream
            is repeated until the server has taken it up, and not after that.

    Threads may share a client. Every method takes a ``request_id`` (64 letters, digits, ``-_.:``
    at most), by which the server's log names the call; without one it makes one. Every method
    raises :class:`ClientError` where the server refuses or there is no answer in time.

    Raises:
        ClientError: the options cannot be used.
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
        self._closed = threading.Event()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections and the calls that are being made."""
        self._closed.set()
        self._channel.close()
        self._stream_channel.close()

    def transcribe(
        self,
        audio: bytes | BinaryIO,
        config: RecognitionConfig | None = None,
        *,
        request_id: str | None = None,
    ) -> Transcription:
        """Transcribe ``audio``: bytes, or a file opened for reading bytes.

        Audio that does not fit into one message is sent in pieces as it is read.
        ``config`` is described in proto/asr/v1; None: a file with a header, the model's defaults.
        """
        config = config or RecognitionConfig()
        request_id = request_id or new_request_id()
        source = Audio(audio)
        request = source.single_request(config)
        if request is None:
            return self._upload(source, config, request_id)
        response = self._ask(self._stub.Transcribe, request, request_id)
        return read_results(response.results)

    def transcribe_file(
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
                return self.transcribe(file, config, request_id=request_id)
        except OSError as error:
            raise ClientError(f"the file cannot be read: {error.strerror or error}") from None

    def stream(
        self,
        pieces: Iterable[bytes],
        config: RecognitionConfig | None = None,
        *,
        request_id: str | None = None,
    ) -> Stream:
        """Transcribe audio while ``pieces`` of it, of any size, are recorded.

        Returns once the server has taken the stream up. The pieces are asked for from then on, in
        another thread. Where ``pieces`` raises, the call ends, and the stream raises the same.
        """
        config = config or RecognitionConfig()
        request_id = request_id or new_request_id()
        attempts = Attempts(self._connection.policy, self.timeout)
        while True:
            taken_up: Future[bool] = Future()
            requests = _Requests(_stream_messages(config, pieces, taken_up))
            call = self._stream_stub.TranscribeStream(
                requests,
                timeout=stream_timeout(self.timeout),
                metadata=self._connection.metadata(request_id),
            )
            requests.call.set_result(call)
            try:
                started = read_first(next(call, None), request_id)
            except BaseException as error:
                call.cancel()  # of no effect on a call that has ended
                taken_up.set_result(False)
                if not isinstance(error, grpc.RpcError):
                    raise
                self._pause_or_raise(attempts, call, request_id)
                continue
            taken_up.set_result(True)
            return Stream(started, call, requests, self._explain, request_id)

    def list_models(self, *, request_id: str | None = None) -> tuple[Model, ...]:
        """The server's models, by name."""
        request_id = request_id or new_request_id()
        response = self._ask(self._stub.ListModels, ListModelsRequest(), request_id)
        return tuple(read_model(model) for model in response.models)

    def get_model(self, name: str = "", *, request_id: str | None = None) -> Model:
        """The model ``name``; without a name, the server's default model."""
        request_id = request_id or new_request_id()
        response = self._ask(self._stub.GetModel, GetModelRequest(name=name), request_id)
        return read_model(response.model)

    def _ask(self, method: Callable[..., Any], request: object, request_id: str) -> Any:
        metadata = self._connection.metadata(request_id)
        try:
            return method(request, timeout=self.timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise self._explain(error, request_id) from None

    def _upload(self, audio: Audio, config: RecognitionConfig, request_id: str) -> Transcription:
        attempts = Attempts(self._connection.policy, self.timeout)
        while True:
            requests = _Requests(_chunk_messages(config, audio.pieces()))
            call = self._stream_stub.TranscribeChunks.future(
                requests,
                timeout=attempts.time_left(),
                metadata=self._connection.metadata(request_id),
            )
            requests.call.set_result(call)
            try:
                return read_results(call.result().results)
            except (grpc.RpcError, grpc.FutureCancelledError):
                requests.raise_error()
                if not audio.can_rewind:
                    raise self._explain(call, request_id) from None
                self._pause_or_raise(attempts, call, request_id)
                audio.rewind()
            finally:
                call.cancel()  # of no effect on a call that has ended

    def _pause_or_raise(self, attempts: Attempts, call: grpc.Call, request_id: str) -> None:
        """Wait as long as it takes before the next attempt, or say why there is none."""
        pause = attempts.pause_after(call.code(), call.trailing_metadata())
        if pause is None or self._closed.wait(pause):
            raise self._explain(call, request_id) from None

    def _explain(self, call: object, request_id: str) -> ClientError:
        assert isinstance(call, grpc.Call), "every error of a call is the call itself"
        return explain(
            call.code(),
            call.details(),
            address=self.address,
            timeout=self.timeout,
            request_id=request_id,
        )


class Stream(Iterator[Transcription]):
    """The results of :meth:`Client.stream`; ``started`` is what the server said of it.

    A bidirectional model (``started.answers_at_end``) gives one result, after the audio's end.
    """

    def __init__(
        self,
        started: StreamStarted,
        call: Any,
        requests: _Requests[TranscribeStreamRequest],
        explain: Callable[[object, str], ClientError],
        request_id: str,
    ) -> None:
        self.started = started
        self.request_id = request_id
        self._call = call
        self._requests = requests
        self._explain = explain

    def __next__(self) -> Transcription:
        try:
            response: TranscribeStreamResponse = next(self._call)
        except grpc.RpcError:
            self._requests.raise_error()
            raise self._explain(self._call, self.request_id) from None
        return read_result(response.result)

    def cancel(self) -> None:
        """End the call without the results that are still to come."""
        self._call.cancel()


class _Requests(Iterator[Message]):
    """``messages`` as gRPC's thread consumes them.

    An error in them would be printed and lost there. Here it ends the call and waits to be raised.
    """

    def __init__(self, messages: Iterator[Message]) -> None:
        self.call: Future[Any] = Future()
        self._messages = messages
        self._error: BaseException | None = None

    def __next__(self) -> Message:
        try:
            return next(self._messages)
        except StopIteration:
            raise
        except BaseException as error:
            self._error = error
            self.call.result().cancel()
            raise StopIteration from None

    def raise_error(self) -> None:
        """Raise what ended the messages, if something did."""
        if self._error is not None:
            raise self._error


def _chunk_messages(
    config: RecognitionConfig, pieces: Iterable[bytes]
) -> Iterator[TranscribeChunksRequest]:
    yield TranscribeChunksRequest(config=config)
    for piece in pieces:
        yield TranscribeChunksRequest(audio_content=piece)


def _stream_messages(
    config: RecognitionConfig, pieces: Iterable[bytes], taken_up: Future[bool]
) -> Iterator[TranscribeStreamRequest]:
    """No piece is asked for until the server has taken the stream up: none gets lost if not."""
    yield TranscribeStreamRequest(config=config)
    if taken_up.result():
        for piece in pieces:
            for part in split(piece):
                yield TranscribeStreamRequest(audio_content=part)


def _open(connection: Connection, *, retrying: bool) -> grpc.Channel:
    credentials, options = connection.credentials(), connection.options(retrying=retrying)
    if credentials is None:
        return grpc.insecure_channel(connection.address, options)
    return grpc.secure_channel(connection.address, credentials, options)
