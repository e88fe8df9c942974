"""The methods of ``asr.v1.Speech``: each takes a place, plans its request, and answers it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from server.api.calls import Call, Context
from server.api.live import LiveCalls
from server.api.messages import write_model, write_started
from server.api.pipeline import Pipeline
from server.api.upload import Upload
from server.api.writing import write_within
from server.engine.admission import Admission
from server.pb.v1.speech_pb2 import (
    GetModelRequest,
    GetModelResponse,
    ListModelsRequest,
    ListModelsResponse,
    RecognitionConfig,
    TranscribeChunksRequest,
    TranscribeChunksResponse,
    TranscribeRequest,
    TranscribeResponse,
    TranscribeStreamRequest,
    TranscribeStreamResponse,
)
from server.pb.v1.speech_pb2_grpc import SpeechServicer

__all__ = ["SpeechService"]


class SpeechService(SpeechServicer):
    """Transcribes by ``pipeline`` or, while it comes, by ``live`` what ``admission`` takes in."""

    def __init__(
        self, pipeline: Pipeline, live: LiveCalls, admission: Admission, idle_seconds: float
    ) -> None:
        self._pipeline = pipeline
        self._live = live
        self._admission = admission
        self._idle_seconds = idle_seconds

    async def Transcribe(  # noqa: N802
        self, request: TranscribeRequest, context: Context
    ) -> TranscribeResponse:
        """Audio in one message."""
        async with Call(context) as record:
            with self._admission.place() as place:
                plan = await self._pipeline.plan(request.config, record)
                results = await self._pipeline.transcribe(plan, request.audio, place, record)
            return TranscribeResponse(results=results)

    async def TranscribeChunks(  # noqa: N802
        self, requests: AsyncIterator[TranscribeChunksRequest], context: Context
    ) -> TranscribeChunksResponse:
        """Audio in pieces."""
        async with Call(context) as record:
            with self._admission.place() as place:
                upload = Upload(requests, place, self._idle_seconds)
                plan = await self._pipeline.plan(await upload.config(), record)
                audio = await upload.audio()
                results = await self._pipeline.transcribe(plan, audio, place, record)
            return TranscribeChunksResponse(results=results)

    async def TranscribeStream(  # noqa: N802
        self, requests: AsyncIterator[TranscribeStreamRequest], context: Context
    ) -> None:
        """Audio in pieces, with a word at once on what is made of the configuration.

        It is answered while it comes, or after its end, as the configuration asks.
        """
        async with Call(context) as record:
            with self._admission.place() as place:
                upload = Upload(requests, place, self._idle_seconds)
                config = await upload.any_config()
                if not isinstance(config, RecognitionConfig):
                    await self._live.run(config, upload, place, context, record)
                    return
                plan = await self._pipeline.plan(config, record)
                started = write_started(plan.model, plan.job)
                message = TranscribeStreamResponse(started=started)
                await write_within(self._idle_seconds, context, message)
                audio = await upload.audio()
                results = await self._pipeline.transcribe(plan, audio, place, record)
                for result in results:
                    message = TranscribeStreamResponse(result=result)
                    await write_within(self._idle_seconds, context, message)

    async def ListModels(  # noqa: N802
        self, request: ListModelsRequest, context: Context
    ) -> ListModelsResponse:
        """The models that are loaded."""
        models = self._pipeline.models
        async with Call(context):
            return ListModelsResponse(
                models=[write_model(model, models.default) for model in models.all()]
            )

    async def GetModel(  # noqa: N802
        self, request: GetModelRequest, context: Context
    ) -> GetModelResponse:
        """One model."""
        models = self._pipeline.models
        async with Call(context) as record:
            model = models.get(request.name)
            record.model = model.name
            return GetModelResponse(model=write_model(model, models.default))
