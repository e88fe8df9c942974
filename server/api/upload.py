"""Reads the audio of a stream: in order, within its limits, and not at any pace."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator

import grpc

from asr.types import AudioError, ConfigError
from server.engine.admission import Place
from server.engine.spool import Spool
from server.errors import Refusal
from server.limits import AUDIO_BYTES, STREAM_BYTES, UPLOAD_BYTES_PER_SECOND, UPLOAD_SECONDS
from server.pb.v1.speech_pb2 import (
    RecognitionConfig,
    StreamingRecognitionConfig,
    TranscribeChunksRequest,
    TranscribeStreamRequest,
)
from server.timeout import within

__all__ = ["Upload"]

Message = TranscribeChunksRequest | TranscribeStreamRequest


class Upload:
    """The messages of one stream. ``place`` is asked for room before audio is kept.

    A stream that is slower than ``UPLOAD_BYTES_PER_SECOND``, taken over ``idle_seconds`` in which
    the server waits for it, is ended: it would keep others out. So is one that takes more than
    ``UPLOAD_SECONDS`` in all, but for a live one.
    """

    def __init__(self, messages: AsyncIterator[Message], place: Place, idle_seconds: float) -> None:
        self._messages = messages
        self._place = place
        self._idle_seconds = idle_seconds
        self._ends = time.monotonic() + UPLOAD_SECONDS
        self._patience = idle_seconds  # what is left of it, to be waited for the window's bytes
        self._in_window = 0

    async def config(self) -> RecognitionConfig:
        """The first message, which must be the configuration.

        Raises:
            ConfigError: it is not.
            Refusal: it did not come in time.
        """
        config = await self.any_config()
        if not isinstance(config, RecognitionConfig):
            raise _no_config()
        return config

    async def any_config(self) -> RecognitionConfig | StreamingRecognitionConfig:
        """The first message, which must be the configuration, of a live stream or another.

        Raises:
            ConfigError, Refusal: see :meth:`config`.
        """
        message = await self._next()
        kind = None if message is None else message.WhichOneof("streaming_request")
        if isinstance(message, TranscribeStreamRequest) and kind == "streaming_config":
            return message.streaming_config
        if message is None or kind != "config":
            raise _no_config()
        return message.config

    async def audio(self) -> Spool:
        """The audio of the remaining messages, to be closed.

        Raises:
            ConfigError: a message holds no audio.
            AudioError: there are more than ``AUDIO_BYTES``; said as soon as they are.
            Refusal: the upload is too slow, or the server has no room for it.
        """
        audio = Spool()
        try:
            while (message := await self._next()) is not None:
                if message.WhichOneof("streaming_request") != "audio_content":
                    raise _no_audio("audio_content only")
                await self._keep(message.audio_content, audio)
        except BaseException:
            audio.close()
            raise
        return audio

    async def _keep(self, piece: bytes, audio: Spool) -> None:
        if len(audio) + len(piece) > AUDIO_BYTES:
            raise AudioError(
                f"the audio has more than {AUDIO_BYTES} bytes",
                remedy="compress it (FLAC, Opus), or split it into parts",
            )
        self._place.hold(len(piece))
        await audio.add(piece)
        self._count(len(piece))

    async def live(self) -> AsyncIterator[bytes | None]:
        """The audio of the remaining messages, as it comes; None for the end of a segment.

        Raises:
            ConfigError: a message holds neither.
            AudioError: there are more than ``STREAM_BYTES``.
            Refusal: the upload is too slow.
        """
        self._ends = math.inf
        total = 0
        while (message := await self._next()) is not None:
            kind = message.WhichOneof("streaming_request")
            if kind == "end_segment":
                yield None
                continue
            if kind != "audio_content":
                raise _no_audio("audio_content and end_segment only")
            total += len(message.audio_content)
            if total > STREAM_BYTES:
                raise AudioError(
                    f"the audio has more than {STREAM_BYTES} bytes", remedy="begin another stream"
                )
            yield message.audio_content
            self._count(len(message.audio_content))

    async def _next(self) -> Message | None:
        """The next message; None at the end."""
        begun = time.monotonic()
        try:
            left = min(self._patience, self._ends - begun)
            return await within(left, anext(self._messages, None))
        except asyncio.TimeoutError:
            raise self._too_slow() from None
        finally:
            self._patience -= time.monotonic() - begun

    def _too_slow(self) -> Refusal:
        if time.monotonic() >= self._ends:
            what = f"the upload took more than {UPLOAD_SECONDS:g} s"
        else:
            what = (
                f"the upload brought less than {UPLOAD_BYTES_PER_SECOND} bytes a second over "
                f"{self._idle_seconds:g} s"
            )
        remedy = "send audio as fast as it is spoken, or faster"
        return Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "idle", f"{what} ({remedy})")

    def _count(self, count: int) -> None:
        """Note that bytes arrived; enough of them begin a new window."""
        self._in_window += count
        if self._in_window >= UPLOAD_BYTES_PER_SECOND * self._idle_seconds:
            self._in_window = 0
            self._patience = self._idle_seconds


def _no_config() -> ConfigError:
    return ConfigError(
        "the stream does not begin with its configuration",
        remedy="send a message with config first, then audio_content",
    )


def _no_audio(what: str) -> ConfigError:
    return ConfigError(
        "a message of the stream holds no audio",
        remedy=f"after the configuration, which is sent once, send {what}",
    )
