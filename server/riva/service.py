"""The methods of Riva's service: those of ``asr.v1.Speech`` in other words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from riva.client.proto import riva_asr_pb2_grpc

from server.api.calls import Call, Context
from server.api.live import LiveCalls
from server.api.pipeline import Pipeline
from server.api.upload import Upload
from server.engine.admission import Admission
from server.engine.models import ServedModel
from server.pb.v1.speech_pb2 import (
    RecognitionConfig,
    StreamingRecognitionConfig,
    TranscribeStreamResponse,
)
from server.riva.messages import (
    HEAD_BYTES,
    fit_to_model,
    read_config,
    told_by,
    write_models,
    write_recognized,
    write_streamed,
)
from server.riva.requests import Requests

__all__ = ["RivaService", "add_to_server"]


class RivaService:
    """See :class:`server.api.service.SpeechService`, whose parts it shares."""

    def __init__(
        self, pipeline: Pipeline, live: LiveCalls, admission: Admission, idle_seconds: float
    ) -> None:
        self._pipeline = pipeline
        self._live = live
        self._admission = admission
        self._idle_seconds = idle_seconds

    async def Recognize(self, request: Any, context: Context) -> Any:  # noqa: N802
        """Audio in one message."""
        async with Call(context) as record:
            with self._admission.place() as place:
                config = read_config(request.config)
                told_by(request.audio[:HEAD_BYTES], config, live=False)
                model = self._model(request.config, config)
                plan = await self._pipeline.plan(config, record)
                results = await self._pipeline.transcribe(plan, request.audio, place, record)
            spoken = model.recognizer.bundle.language_code
            return write_recognized(results, request, config.audio_channel, spoken)

    async def StreamingRecognize(  # noqa: N802
        self, requests: AsyncIterator[Any], context: Context
    ) -> None:
        """Audio in pieces, answered while it comes."""
        async with Call(context) as record:
            with self._admission.place() as place:
                messages = Requests(requests, self._model)
                upload = Upload(messages, place, self._idle_seconds)
                config = await upload.any_config()
                assert isinstance(config, StreamingRecognitionConfig), "it was made of one"
                listener = _Listener(context, messages)
                await self._live.run(config, upload, place, listener, record)

    async def GetRivaSpeechRecognitionConfig(  # noqa: N802
        self, request: Any, context: Context
    ) -> Any:
        """The models, or one of them."""
        models = self._pipeline.models
        async with Call(context):
            if request.model_name:
                models.get(request.model_name)  # or it is refused
            return write_models(models.all(), request.model_name)

    def _model(self, asked: Any, config: RecognitionConfig) -> ServedModel:
        """The model that ``config``, made of Riva's ``asked``, names; it must be able to."""
        model = self._pipeline.models.get(config.model)
        fit_to_model(asked, config, model)
        return model


class _Listener:
    """Takes the answers of a live stream, and writes them as Riva's."""

    def __init__(self, context: Context, messages: Requests) -> None:
        self._context = context
        self._messages = messages

    async def write(self, message: TranscribeStreamResponse) -> None:
        """Riva's clients do not know that a stream is ``started``."""
        if message.HasField("results"):
            heard = self._messages
            answer = write_streamed(message.results, heard.channel, heard.spoken)
            if heard.id is not None:
                answer.id.CopyFrom(heard.id)
            await self._context.write(answer)


def add_to_server(service: RivaService, server: grpc.aio.Server) -> None:
    """Let ``server`` answer Riva's methods."""
    riva_asr_pb2_grpc.add_RivaSpeechRecognitionServicer_to_server(service, server)
