"""The methods of ``asr.v1.Speech``: one request from its message to its answer."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import Executor
from typing import TypeVar

import grpc

from asr.decoding import DecoderConfig
from asr.recognizer import Recognizer
from asr.types import AsrError, AudioError, ConfigError
from server.messages import read_audio, read_decoder, write_result
from server.pb.v1.speech_pb2 import (
    RecognitionConfig,
    SpeechRecognitionResult,
    TranscribeChunksRequest,
    TranscribeChunksResponse,
    TranscribeRequest,
    TranscribeResponse,
)
from server.pb.v1.speech_pb2_grpc import SpeechServicer

__all__ = ["SpeechService"]

log = logging.getLogger(__name__)

# A message may quote what the client sent. As a header it must stay far below gRPC's 8 KiB, and a
# character beyond ASCII takes up to twelve bytes there.
MAX_STATUS_CHARACTERS = 500

T = TypeVar("T")
Context = grpc.aio.ServicerContext[object, object]


class NotReadyError(Exception):
    """A request came before the model was loaded."""


class SpeechService(SpeechServicer):
    """Transcribes with ``recognizer``, which is None until a model is loaded.

    Decoding audio and recognising it block, so they run in ``executor``: give it one thread, and
    requests take their turn while the event loop stays free.
    """

    def __init__(self, executor: Executor, recognizer: Recognizer | None = None) -> None:
        self.recognizer = recognizer
        self._executor = executor

    async def Transcribe(  # noqa: N802
        self, request: TranscribeRequest, context: Context
    ) -> TranscribeResponse:
        """Audio in one message."""
        result = await _answer(self._transcribe(request), context)
        return TranscribeResponse(results=[result])

    async def TranscribeChunks(  # noqa: N802
        self, requests: AsyncIterator[TranscribeChunksRequest], context: Context
    ) -> TranscribeChunksResponse:
        """Audio in pieces."""
        result = await _answer(self._transcribe_chunks(requests), context)
        return TranscribeChunksResponse(results=[result])

    async def _transcribe(self, request: TranscribeRequest) -> SpeechRecognitionResult:
        recognizer = self._ready()
        decoder = read_decoder(request.config, recognizer.bundle.decoder)
        return await self._recognize(recognizer, request.config, decoder, request.audio)

    async def _transcribe_chunks(
        self, requests: AsyncIterator[TranscribeChunksRequest]
    ) -> SpeechRecognitionResult:
        recognizer = self._ready()
        config = await _read_config(requests)
        decoder = read_decoder(config, recognizer.bundle.decoder)  # before the audio is awaited
        audio = await _read_chunks(requests, recognizer.limits.max_bytes)
        return await self._recognize(recognizer, config, decoder, audio)

    def _ready(self) -> Recognizer:
        if self.recognizer is None:
            raise NotReadyError
        return self.recognizer

    async def _recognize(
        self,
        recognizer: Recognizer,
        config: RecognitionConfig,
        decoder: DecoderConfig,
        audio: bytes,
    ) -> SpeechRecognitionResult:
        def work() -> SpeechRecognitionResult:
            waveform = read_audio(config, audio, recognizer.limits)
            (transcript,) = recognizer.recognize([waveform], decoder)
            return write_result(transcript, words=config.enable_word_time_offsets)

        # A request cancelled while it waits for its turn is taken out of the executor's queue.
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


async def _answer(work: Awaitable[T], context: Context) -> T:
    """The result of ``work``, or the end of the call with the status its failure deserves."""
    try:
        return await work
    except AsrError as error:
        code, message = grpc.StatusCode.INVALID_ARGUMENT, error.public_message()
    except NotReadyError:
        code, message = grpc.StatusCode.UNAVAILABLE, "the model is being loaded; try again later"
    except Exception:
        request_id = uuid.uuid4().hex
        log.exception("request %s failed", request_id)
        code = grpc.StatusCode.INTERNAL
        message = f"the server failed; its log tells more under request {request_id}"
    await context.abort(code, _shorten(message))
    raise AssertionError("abort does not return")


def _shorten(message: str) -> str:
    """``message`` on one line of at most ``MAX_STATUS_CHARACTERS``."""
    # Cut before splitting: the message may quote megabytes.
    line = " ".join(message[: 2 * MAX_STATUS_CHARACTERS].split())
    if len(line) <= MAX_STATUS_CHARACTERS:
        return line
    return line[: MAX_STATUS_CHARACTERS - 1] + "…"


async def _read_config(requests: AsyncIterator[TranscribeChunksRequest]) -> RecognitionConfig:
    """The first message of a stream, which must be the configuration."""
    async for request in requests:
        if request.WhichOneof("streaming_request") == "config":
            return request.config
        break
    raise ConfigError(
        "the stream does not begin with its configuration",
        remedy="send a message with config first, then audio_content",
    )


async def _read_chunks(requests: AsyncIterator[TranscribeChunksRequest], max_bytes: int) -> bytes:
    """The audio of the remaining messages, refused as soon as it grows beyond ``max_bytes``."""
    audio = bytearray()
    async for request in requests:
        if request.WhichOneof("streaming_request") != "audio_content":
            raise ConfigError(
                "a message of the stream holds no audio",
                remedy="after the configuration, which is sent once, send audio_content only",
            )
        if len(audio) + len(request.audio_content) > max_bytes:
            raise AudioError(
                f"the audio has more than {max_bytes} bytes", remedy="split it into parts"
            )
        audio += request.audio_content
    return bytes(audio)
