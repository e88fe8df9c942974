"""Reads the audio of a stream: in order, within its limits, and not at any pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import grpc

from asr.types import AudioError, ConfigError
from server.engine.admission import Place
from server.errors import Refusal
from server.limits import AUDIO_BYTES, UPLOAD_BYTES_PER_SECOND, UPLOAD_SECONDS
from server.pb.v1.speech_pb2 import (
    RecognitionConfig,
    TranscribeChunksRequest,
    TranscribeStreamRequest,
)
from server.timeout import within

__all__ = ["Upload"]

Message = TranscribeChunksRequest | TranscribeStreamRequest


class Upload:
    """The messages of one stream. ``place`` is asked for room before audio is kept.

    A stream that is slower than ``UPLOAD_BYTES_PER_SECOND``, taken over ``idle_seconds``, is ended:
    it would keep others out. So is one that takes more than ``UPLOAD_SECONDS`` in all.
    """

    def __init__(self, messages: AsyncIterator[Message], place: Place, idle_seconds: float) -> None:
        self._messages = messages
        self._place = place
        self._idle_seconds = idle_seconds
        self._ends = time.monotonic() + UPLOAD_SECONDS
        self._window_ends = time.monotonic() + idle_seconds
        self._in_window = 0

    async def config(self) -> RecognitionConfig:
        """The first message, which must be the configuration.

        Raises:
            ConfigError: it is not.
            Refusal: it did not come in time.
        """
        message = await self._next()
        if message is None or message.WhichOneof("streaming_request") != "config":
            raise ConfigError(
                "the stream does not begin with its configuration",
                remedy="send a message with config first, then audio_content",
            )
        return message.config

    async def audio(self) -> bytearray:
        """The audio of the remaining messages.

        Raises:
            ConfigError: a message holds no audio.
            AudioError: there are more than ``AUDIO_BYTES``; said as soon as they are.
            Refusal: the upload is too slow, or the server has no room for it.
        """
        audio = bytearray()
        while (message := await self._next()) is not None:
            if message.WhichOneof("streaming_request") != "audio_content":
                raise ConfigError(
                    "a message of the stream holds no audio",
                    remedy="after the configuration, which is sent once, send audio_content only",
                )
            piece = message.audio_content
            if len(audio) + len(piece) > AUDIO_BYTES:
                raise AudioError(
                    f"the audio has more than {AUDIO_BYTES} bytes", remedy="split it into parts"
                )
            self._place.hold(len(piece))
            audio += piece
            self._count(len(piece))
        return audio

    async def _next(self) -> Message | None:
        """The next message; None at the end."""
        try:
            left = min(self._window_ends, self._ends) - time.monotonic()
            return await within(left, anext(self._messages, None))
        except asyncio.TimeoutError:
            raise self._too_slow() from None

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
            self._window_ends = time.monotonic() + self._idle_seconds
