"""The way of one request through the server, from its bytes to its result."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, tensor

from asr.decoding import DecoderConfig, Phrase, Stop
from asr.types import Transcript, Waveform
from server.api.messages import check_duration, read_decoder, read_job, read_phrases, write_result
from server.audio.pool import AudioJob, AudioWorkers
from server.engine.admission import Place
from server.engine.models import Models, ServedModel
from server.engine.search_pool import Searches
from server.pb.v1.speech_pb2 import RecognitionConfig, SpeechRecognitionResult
from server.telemetry.records import CallRecord

__all__ = ["Pipeline", "Plan"]


@dataclass(frozen=True)
class Plan:
    """What a request asks for, known to be possible before its audio is read."""

    model: ServedModel
    decoder: DecoderConfig
    phrases: tuple[Phrase, ...]
    job: AudioJob
    with_words: bool


class Pipeline:
    """Decodes audio, runs the model on batches, searches: each in its own place, off the loop."""

    def __init__(self, models: Models, audio: AudioWorkers, searches: Searches) -> None:
        self.models = models
        self._audio = audio
        self._searches = searches

    def plan(self, config: RecognitionConfig, record: CallRecord) -> Plan:
        """Check what ``config`` asks for.

        Raises:
            Refusal: there is no such model.
            AudioError, DecodingError: an option is out of range.
        """
        model = self.models.get(config.model)
        record.model = model.name
        decoder = read_decoder(config, model.recognizer.bundle)
        record.decoder = decoder.name
        job = read_job(config, model.recognizer.sample_rate)
        words = config.enable_word_time_offsets
        return Plan(model, decoder, read_phrases(config), job, words)

    async def transcribe(
        self, plan: Plan, audio: bytes | bytearray, place: Place, record: CallRecord
    ) -> SpeechRecognitionResult:
        """The result for ``audio``.

        Raises:
            AsrError: the audio cannot be used, or is too long for the decoder.
        """
        record.audio_bytes = len(audio)
        with record.stage("admission"):
            await place.turn()
        with plan.model.batcher.coming():
            with record.stage("audio"):
                waveform, duration = await self._audio.decode(plan.job, audio)
                waveform = plan.model.recognizer.prepare(waveform)
            record.audio_seconds = duration
            check_duration(plan.decoder, duration)
        log_probs = await self._log_probs(plan.model, waveform, record)
        with record.stage("search"):
            return await self._search(plan, log_probs, duration)

    async def _log_probs(
        self, model: ServedModel, waveform: Waveform, record: CallRecord
    ) -> Tensor:
        """Log-probabilities ``(T, V)``."""
        batched = await model.batcher.submit(waveform)
        record.spent("batch", batched.waited)
        record.spent("model", batched.computed)
        record.batch_size = batched.size
        return batched.value

    async def _search(
        self, plan: Plan, log_probs: Tensor, duration: float
    ) -> SpeechRecognitionResult:
        def search(stop: Stop) -> SpeechRecognitionResult:
            batch, lengths = log_probs[None], tensor([len(log_probs)])  # (1, T, V), (1,)
            recognizer = plan.model.recognizer
            [hypotheses] = recognizer.decode(
                batch, lengths, plan.decoder, stop, phrases=plan.phrases
            )
            return write_result(Transcript(tuple(hypotheses), duration), words=plan.with_words)

        return await self._searches.run(search)
