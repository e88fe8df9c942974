"""Calls that send audio in pieces: uploads, and streams while audio is recorded.

The asyncio client leaves them to gRPC's threads as well. Where a server refuses a stream that is
still being written, grpc.aio (seen in 1.85) may report INTERNAL instead of the server's status, and
on the status depends what is to be done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final, Generic, TypeVar

import grpc

from server.client.channel import Connection
from server.client.errors import ClientError, explain, no_answer
from server.client.requests import Audio, split, stream_timeout
from server.client.results import (
    LiveResult,
    StreamStarted,
    Transcription,
    read_first,
    read_live,
    read_result,
)
from server.client.retries import Attempts
from server.client.turns import read_results
from server.pb.v1.speech_pb2 import (
    EndSegment,
    RecognitionConfig,
    StreamingRecognitionConfig,
    TranscribeChunksRequest,
    TranscribeStreamRequest,
    TranscribeStreamResponse,
)
from server.pb.v1.speech_pb2_grpc import SpeechStub

__all__ = ["END_OF_SEGMENT", "Cancel", "LivePiece", "Said", "Stream", "StreamCalls", "open_channel"]

Message = TypeVar("Message")
Said = TypeVar("Said")


class Mark(Enum):
    """What may stand between two pieces of audio."""

    END_OF_SEGMENT = "the segment ends here"


END_OF_SEGMENT: Final = Mark.END_OF_SEGMENT
LivePiece = bytes | Mark


def open_channel(connection: Connection, *, retrying: bool) -> grpc.Channel:
    """A channel of gRPC's threads; ``retrying``: gRPC repeats calls."""
    credentials, options = connection.credentials(), connection.options(retrying=retrying)
    if credentials is None:
        return grpc.insecure_channel(connection.address, options)
    return grpc.secure_channel(connection.address, credentials, options)


class Cancel:
    """Ends one call, whichever of its attempts is being made, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._call: Any = None
        self._cancelled = threading.Event()

    def __call__(self) -> None:
        """End the call."""
        with self._lock:
            self._cancelled.set()
            if self._call is not None:
                self._call.cancel()

    def watch(self, call: Any) -> None:
        """``call`` is the attempt that is being made from now on."""
        with self._lock:
            self._call = call
            if self._cancelled.is_set():
                call.cancel()

    def wait(self, seconds: float) -> bool:
        """Wait that long, or until the call is ended: then True."""
        return self._cancelled.wait(seconds)


class StreamCalls:
    """Makes the calls over a channel that repeats nothing, and repeats them itself.

    :mod:`server.client.retries` says why and when. Threads may share it.
    """

    def __init__(self, connection: Connection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._channel = open_channel(connection, retrying=False)
        self._stub = SpeechStub(self._channel)  # type: ignore[no-untyped-call]
        self._cancels: set[Cancel] = set()
        self._closed = False

    def close(self) -> None:
        """End the connection and the calls that are being made."""
        self._closed = True
        for cancel in [*self._cancels]:
            cancel()
        self._channel.close()

    def upload(
        self, audio: Audio, config: RecognitionConfig, request_id: str, cancel: Cancel
    ) -> Transcription:
        """Transcribe audio that is longer than a message, sent as it is read.

        Raises:
            ClientError: there is no answer.
            Exception: what reading the audio raised.
        """
        attempts = Attempts(self._connection.policy, self._timeout)
        with self._known(cancel):
            while True:
                requests = _Requests(_chunk_messages(config, audio.pieces()))
                method = self._stub.TranscribeChunks.future
                call = self._begin(method, requests, attempts.time_left(), request_id, cancel)
                try:
                    return read_results(call.result().results)
                except (grpc.RpcError, grpc.FutureCancelledError):
                    requests.raise_error()
                    if not audio.can_rewind:
                        raise self.explain(call, request_id) from None
                    self._pause_or_raise(attempts, call, request_id, cancel)
                    audio.rewind()
                finally:
                    call.cancel()  # of no effect on a call that has ended

    def open(
        self, pieces: Iterable[bytes], config: RecognitionConfig, request_id: str, cancel: Cancel
    ) -> Stream[Transcription]:
        """Begin a stream that is answered after its end. When this returns, the server has taken it
        up.

        Raises:
            ClientError: it has not.
        """
        first = TranscribeStreamRequest(config=config)
        timeout = stream_timeout(self._timeout)
        return self._open(first, pieces, timeout, _read_at_end, request_id, cancel)

    def open_live(
        self,
        pieces: Iterable[LivePiece],
        config: StreamingRecognitionConfig,
        request_id: str,
        cancel: Cancel,
    ) -> Stream[LiveResult]:
        """Begin a live stream, which may last for as long as somebody speaks; see :meth:`open`."""
        first = TranscribeStreamRequest(streaming_config=config)
        return self._open(first, pieces, None, _read_live, request_id, cancel)

    def _open(
        self,
        first: TranscribeStreamRequest,
        pieces: Iterable[LivePiece],
        timeout: float | None,
        read: Callable[[TranscribeStreamResponse], Said],
        request_id: str,
        cancel: Cancel,
    ) -> Stream[Said]:
        attempts = Attempts(self._connection.policy, self._timeout)
        with self._known(cancel):
            while True:
                taken_up: Future[bool] = Future()
                requests = _Requests(_stream_messages(first, pieces, taken_up))
                method = self._stub.TranscribeStream
                call = self._begin(method, requests, timeout, request_id, cancel)
                try:
                    with self._in_time(call, attempts, request_id):
                        started = read_first(next(call, None), request_id)
                except BaseException as error:
                    call.cancel()  # of no effect on a call that has ended
                    taken_up.set_result(False)
                    if not isinstance(error, grpc.RpcError):
                        raise
                    self._pause_or_raise(attempts, call, request_id, cancel)
                    continue
                taken_up.set_result(True)
                return Stream(started, call, requests, self, request_id, read)

    def explain(self, call: object, request_id: str) -> ClientError:
        """Why ``call`` has failed."""
        address = self._connection.address
        return explain(call, address=address, timeout=self._timeout, request_id=request_id)

    @contextmanager
    def _known(self, cancel: Cancel) -> Iterator[None]:
        """:meth:`close` ends the call as well."""
        self._cancels.add(cancel)
        try:
            yield
        finally:
            self._cancels.discard(cancel)

    @contextmanager
    def _in_time(self, call: Any, attempts: Attempts, request_id: str) -> Iterator[None]:
        """End ``call`` when the time for all ``attempts`` is over.

        Raises:
            ClientError: it is.
        """
        late = threading.Event()

        def end() -> None:
            late.set()
            call.cancel()

        timer = threading.Timer(attempts.time_left(), end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if late.is_set():
                message = no_answer(self._connection.address, self._timeout)
                raise ClientError(message, grpc.StatusCode.DEADLINE_EXCEEDED, request_id) from None

    def _begin(
        self,
        method: Callable[..., Any],
        requests: _Requests[Any],
        timeout: float | None,
        request_id: str,
        cancel: Cancel,
    ) -> Any:
        metadata = self._connection.metadata(request_id)
        call = method(requests, timeout=timeout, metadata=metadata)
        requests.call.set_result(call)
        cancel.watch(call)
        return call

    def _pause_or_raise(
        self, attempts: Attempts, call: grpc.Call, request_id: str, cancel: Cancel
    ) -> None:
        """Wait as long as it takes before the next attempt, or say why there is none."""
        pause = attempts.pause_after(call.code(), call.trailing_metadata())
        if pause is None or cancel.wait(pause) or self._closed:
            raise self.explain(call, request_id) from None


class Stream(Iterator[Said], Generic[Said]):
    """The results of a stream; ``started`` is what the server said of it.

    They are of the kind :class:`~server.client.LiveResult` where the stream is live, else one
    :class:`~server.client.Transcription`, after the audio's end, or one for each channel.
    """

    def __init__(
        self,
        started: StreamStarted,
        call: Any,
        requests: _Requests[TranscribeStreamRequest],
        calls: StreamCalls,
        request_id: str,
        read: Callable[[TranscribeStreamResponse], Said],
    ) -> None:
        self.started = started
        self.request_id = request_id
        self._call = call
        self._requests = requests
        self._calls = calls
        self._read = read

    def __next__(self) -> Said:
        try:
            response: TranscribeStreamResponse = next(self._call)
        except grpc.RpcError:
            self._requests.raise_error()
            raise self._calls.explain(self._call, self.request_id) from None
        return self._read(response)

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


def _read_at_end(response: TranscribeStreamResponse) -> Transcription:
    return read_result(response.result)


def _read_live(response: TranscribeStreamResponse) -> LiveResult:
    return read_live(response.results)


def _stream_messages(
    first: TranscribeStreamRequest, pieces: Iterable[LivePiece], taken_up: Future[bool]
) -> Iterator[TranscribeStreamRequest]:
    """No piece is asked for until the server has taken the stream up: none gets lost if not."""
    yield first
    if taken_up.result():
        for piece in pieces:
            if isinstance(piece, Mark):
                yield TranscribeStreamRequest(end_segment=EndSegment())
                continue
            for part in split(piece):
                yield TranscribeStreamRequest(audio_content=part)
