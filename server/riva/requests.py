"""The messages of a stream of Riva's, as those of ``asr.v1``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from server.engine.models import ServedModel
from server.pb.v1.speech_pb2 import RecognitionConfig, TranscribeStreamRequest
from server.riva.messages import HEAD_BYTES, read_streaming_config, told_by

__all__ = ["Requests"]


class Requests(AsyncIterator[TranscribeStreamRequest]):
    """Translates the stream ``requests``, one message after the other.

    The configuration is handed on with the first bytes of audio, which tell what the audio is.
    What it says of the model is checked before by ``model_of``, which is given the configuration of
    Riva's and ours. ``spoken`` is the model's language, ``channel`` the one that is heard, and
    ``id`` the client's name for its request.

    Raises:
        AsrError: where a message asks for what there is not.
        Refusal: there is no such model.
    """

    def __init__(
        self,
        requests: AsyncIterator[Any],
        model_of: Callable[[Any, RecognitionConfig], ServedModel],
    ) -> None:
        self.spoken = ""
        self.channel = 0
        self.id: Any = None
        self._requests = requests
        self._model_of = model_of
        self._held: list[TranscribeStreamRequest] = []
        self._messages = self._translated()

    async def __anext__(self) -> TranscribeStreamRequest:
        return await anext(self._messages)

    async def _translated(self) -> AsyncIterator[TranscribeStreamRequest]:
        first = await anext(self._requests, None)
        if first is None:
            return
        if first.WhichOneof("streaming_request") == "streaming_config":
            yield await self._configuration(first)
        else:
            self._held.append(_message(first))
        for message in self._held:
            yield message
        async for request in self._requests:
            yield _message(request)

    async def _configuration(self, request: Any) -> TranscribeStreamRequest:
        config = read_streaming_config(request.streaming_config)
        model = self._model_of(request.streaming_config.config, config.config)
        self.spoken = model.recognizer.bundle.language_code
        self.channel = config.config.audio_channel
        self.id = request.id if request.HasField("id") else None
        told_by(await self._head(), config.config, live=True)
        return TranscribeStreamRequest(streaming_config=config)

    async def _head(self) -> bytes:
        """The first bytes of the audio; the messages that they came in are held back."""
        head = b""
        while len(head) < HEAD_BYTES:
            request = await anext(self._requests, None)
            if request is None:
                break
            self._held.append(_message(request))
            head += request.audio_content[:HEAD_BYTES]
        return head


def _message(request: Any) -> TranscribeStreamRequest:
    """One after the configuration: audio, or what is refused as it is in ``asr.v1``."""
    if request.WhichOneof("streaming_request") != "audio_content":
        return TranscribeStreamRequest()
    return TranscribeStreamRequest(audio_content=request.audio_content)
