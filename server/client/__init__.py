"""Clients of ``asr.v1.Speech``. They need grpcio and protobuf, and nothing else.

>>> with Client("127.0.0.1:50051") as client:
...     print(client.transcribe_file("speech.wav").text)

:class:`AsyncClient` has the same methods for asyncio.
"""

from __future__ import annotations

from server.client.aio import AsyncClient, AsyncStream
from server.client.channel import DEFAULT_ADDRESS, Security, read_token
from server.client.errors import ClientError
from server.client.requests import DEFAULT_TIMEOUT
from server.client.results import (
    Hypothesis,
    LiveResult,
    Model,
    Posteriors,
    StreamStarted,
    Transcription,
    Word,
)
from server.client.retries import DEFAULT_RETRIES, MAX_RETRIES
from server.client.streams import END_OF_SEGMENT, LivePiece, Stream
from server.client.sync import Client
from server.client.turns import Turn, turns_of
from server.pb.v1.speech_pb2 import (
    EndpointingConfig,
    RecognitionConfig,
    SpeechContext,
    StreamingRecognitionConfig,
)

__all__ = [
    "DEFAULT_ADDRESS",
    "DEFAULT_RETRIES",
    "DEFAULT_TIMEOUT",
    "END_OF_SEGMENT",
    "MAX_RETRIES",
    "AsyncClient",
    "AsyncStream",
    "Client",
    "ClientError",
    "EndpointingConfig",
    "Hypothesis",
    "LivePiece",
    "LiveResult",
    "Model",
    "Posteriors",
    "RecognitionConfig",
    "Security",
    "SpeechContext",
    "Stream",
    "StreamStarted",
    "StreamingRecognitionConfig",
    "Transcription",
    "Turn",
    "Word",
    "read_token",
    "turns_of",
]
