"""The client for threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, BinaryIO

import grpc

from server.client.channel import DEFAULT_ADDRESS, Connection, Security, name_call
from server.client.errors import ClientError, explain
from server.client.requests import DEFAULT_TIMEOUT, Audio
from server.client.results import LiveResult, Model, Transcription, read_model
from server.client.retries import DEFAULT_RETRIES, RetryPolicy
from server.client.streams import Cancel, LivePiece, Stream, StreamCalls, open_channel
from server.client.turns import read_results
from server.pb.v1.speech_pb2 import (
    GetModelRequest,
    ListModelsRequest,
    RecognitionConfig,
    StreamingRecognitionConfig,
)
from server.pb.v1.speech_pb2_grpc import SpeechStub

__all__ = ["Client"]


class Client:
    """Connections to the server at ``address``, made at the first call.

    Args:
        address: host:port, ``unix:PATH``, or any target of gRPC; ``dns:///host:port`` is balanced
            round robin. Without a port, that of asr-server.
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
        self.timeout = timeout
        self._connection = Connection(address, security or Security(), RetryPolicy(retries))
        self.address = self._connection.address
        self._channel = open_channel(self._connection, retrying=True)
        self._stub = SpeechStub(self._channel)  # type: ignore[no-untyped-call]
        self._streams = StreamCalls(self._connection, timeout)

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
        self._streams.close()
        self._channel.close()

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
        request_id = name_call(request_id)
        source = Audio(audio)
        request = source.single_request(config)
        if request is None:
            return self._streams.upload(source, config, request_id, Cancel())
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
            with open(path, "rb", buffering=0) as file:
                return self.transcribe(file, config, request_id=request_id)
        except OSError as error:
            raise ClientError(f"the file cannot be read: {error.strerror or error}") from None

    def stream(
        self,
        pieces: Iterable[bytes],
        config: RecognitionConfig | None = None,
        *,
        request_id: str | None = None,
    ) -> Stream[Transcription]:
        """Send audio while its ``pieces``, of any size, are recorded, and transcribe it at its end.

        Returns once the server has taken the stream up. The pieces are asked for from then on, in
        another thread. Where ``pieces`` raises, the call ends, and the stream raises the same.
        """
        config = config or RecognitionConfig()
        return self._streams.open(pieces, config, name_call(request_id), Cancel())

    def live(
        self,
        pieces: Iterable[LivePiece],
        config: StreamingRecognitionConfig,
        *,
        request_id: str | None = None,
    ) -> Stream[LiveResult]:
        """Transcribe audio while ``pieces`` of it, of any size, are recorded.

        ``END_OF_SEGMENT`` among them ends a segment. The stream gives results as they become known,
        interim ones where ``config.interim_results`` asks for them. It may last for hours, so the
        timeout counts until the server has taken it up, and no longer. Otherwise as :meth:`stream`.
        """
        return self._streams.open_live(pieces, config, name_call(request_id), Cancel())

    def list_models(self, *, request_id: str | None = None) -> tuple[Model, ...]:
        """The server's models, by name."""
        request_id = name_call(request_id)
        response = self._ask(self._stub.ListModels, ListModelsRequest(), request_id)
        return tuple(read_model(model) for model in response.models)

    def get_model(self, name: str = "", *, request_id: str | None = None) -> Model:
        """The model ``name``; without a name, the server's default model."""
        request_id = name_call(request_id)
        response = self._ask(self._stub.GetModel, GetModelRequest(name=name), request_id)
        return read_model(response.model)

    def _ask(self, method: Callable[..., Any], request: object, request_id: str) -> Any:
        metadata = self._connection.metadata(request_id)
        try:
            return method(request, timeout=self.timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise explain(
                error, address=self.address, timeout=self.timeout, request_id=request_id
            ) from None
