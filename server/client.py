"""A client of ``asr.v1.Speech``. It needs grpcio and protobuf, and nothing else.

>>> with Client("127.0.0.1:50051") as client:
...     print(client.transcribe_file("speech.wav").text)
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO

import grpc

from server.limits import DEFAULT_PORT, MESSAGE_LIMIT
from server.pb.v1.speech_pb2 import (
    RecognitionConfig,
    SpeechRecognitionAlternative,
    SpeechRecognitionResult,
    TranscribeChunksRequest,
    TranscribeRequest,
    WordInfo,
)
from server.pb.v1.speech_pb2_grpc import SpeechStub

__all__ = [
    "DEFAULT_ADDRESS",
    "Client",
    "ClientError",
    "Hypothesis",
    "RecognitionConfig",
    "Transcription",
    "Word",
]

DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"
DEFAULT_TIMEOUT = 300.0
CHUNK_BYTES = 256 * 1024


class ClientError(Exception):
    """No transcript, and why, in one line. ``code`` is None where no server was asked."""

    def __init__(self, message: str, code: grpc.StatusCode | None = None) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code


@dataclass(frozen=True)
class Word:
    """One word (or phone). ``start`` and ``end`` are seconds; ``confidence`` lies in [0, 1]."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Hypothesis:
    """One way to read the audio. ``score`` is a natural logarithm, ``confidence`` in [0, 1];
    ``words`` is empty unless ``enable_word_time_offsets`` was set.
    """

    text: str
    score: float
    confidence: float
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Transcription:
    """What was said: ``hypotheses`` best first, never empty. ``duration`` is in seconds."""

    hypotheses: tuple[Hypothesis, ...]
    duration: float

    @property
    def text(self) -> str:
        """The text of the best hypothesis."""
        return self.hypotheses[0].text


class Client:
    """A connection to the server at ``address`` (host:port), made at the first call.

    ``timeout`` is how long a call may take, in seconds. Threads may share a client.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.address = address
        self.timeout = timeout
        self._channel = grpc.insecure_channel(address)
        self._stub = SpeechStub(self._channel)  # type: ignore[no-untyped-call]

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
        """End the connection."""
        self._channel.close()

    def transcribe(
        self, audio: bytes | BinaryIO, config: RecognitionConfig | None = None
    ) -> Transcription:
        """Transcribe ``audio``: bytes, or a file opened for reading bytes.

        Audio that does not fit into one message is sent in pieces as it is read.
        ``config`` is described in proto/asr/v1; None: a file with a header, the model's defaults.

        Raises:
            ClientError: the audio or the options are refused, or there is no answer in time.
        """
        config = config or RecognitionConfig()
        source = io.BytesIO(audio) if isinstance(audio, bytes) else audio
        head = source.read(MESSAGE_LIMIT)
        request = TranscribeRequest(config=config, audio=head)
        try:
            if request.ByteSize() <= MESSAGE_LIMIT:
                response = self._stub.Transcribe(request, timeout=self.timeout)
            else:
                chunks = _chunks(config, head, source)
                response = self._stub.TranscribeChunks(chunks, timeout=self.timeout)
        except grpc.RpcError as error:
            raise self._explain(error) from None
        return _transcription(response.results[0])

    def transcribe_file(
        self, path: str | os.PathLike[str], config: RecognitionConfig | None = None
    ) -> Transcription:
        """Transcribe the file ``path``; see :meth:`transcribe`.

        Raises:
            ClientError: also if the file cannot be read.
        """
        try:
            with open(path, "rb") as file:
                return self.transcribe(file, config)
        except OSError as error:
            raise ClientError(f"the file cannot be read: {error.strerror or error}") from None

    def _explain(self, error: grpc.RpcError) -> ClientError:
        """``error`` in words that help whoever made the call."""
        if not isinstance(error, grpc.Call):
            return ClientError(str(error))
        code, details = error.code(), error.details() or ""
        if code == grpc.StatusCode.INVALID_ARGUMENT:
            return ClientError(details, code)
        if code == grpc.StatusCode.UNAVAILABLE:
            return ClientError(
                f"the server at {self.address} is not available: {details} "
                f"(check that asr-server is running there)",
                code,
            )
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return ClientError(
                f"no answer from {self.address} within {self.timeout:g} s (allow more time)", code
            )
        return ClientError(f"{self.address} answered {code.name}: {details}", code)


def _chunks(
    config: RecognitionConfig, head: bytes, rest: BinaryIO
) -> Iterator[TranscribeChunksRequest]:
    """The messages of a stream: the configuration, then ``head`` and what can be read after it."""
    yield TranscribeChunksRequest(config=config)
    for source in (io.BytesIO(head), rest):
        while chunk := source.read(CHUNK_BYTES):
            yield TranscribeChunksRequest(audio_content=chunk)


def _transcription(result: SpeechRecognitionResult) -> Transcription:
    return Transcription(
        hypotheses=tuple(_hypothesis(alternative) for alternative in result.alternatives),
        duration=result.result_end_time.ToNanoseconds() / 1e9,
    )


def _hypothesis(alternative: SpeechRecognitionAlternative) -> Hypothesis:
    return Hypothesis(
        text=alternative.transcript,
        score=alternative.score,
        confidence=alternative.confidence,
        words=tuple(_word(word) for word in alternative.words),
    )


def _word(word: WordInfo) -> Word:
    return Word(
        text=word.word,
        start=word.start_time.ToNanoseconds() / 1e9,
        end=word.end_time.ToNanoseconds() / 1e9,
        confidence=word.confidence,
    )
