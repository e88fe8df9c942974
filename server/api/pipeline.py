"""The way of one request through the server, from its bytes to its result."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, tensor

from asr.decoding import Decoder, DecoderOptions, Phrase, Stop, WfstOptions
from asr.gate import NO_WORDS
from asr.itn import InverseNormalizer, shared_normalizer
from asr.recognizer import PreparedWaveform, Recognizer
from asr.types import Transcript
from server.api.blocks import timed_blocks
from server.api.messages import (
    AnswerRoom,
    check_duration,
    read_job,
    read_options,
    read_phrases,
    write_result,
)
from server.api.posteriors import check_posterior_duration, write_posteriors
from server.api.segments import SEGMENTS, SegmentReader
from server.audio.pool import AudioJob, AudioWorkers, LongAudioError
from server.engine.admission import Place
from server.engine.models import Models, ServedModel
from server.engine.search_pool import Searches
from server.engine.spool import Spool
from server.pb.v1.speech_pb2 import RecognitionConfig, SpeechRecognitionResult
from server.telemetry.records import CallRecord

__all__ = ["Pipeline", "Plan"]


@dataclass(frozen=True)
class Plan:
    """What a request asks for, known to be possible before its audio is read."""

    model: ServedModel
    decoder: Decoder
    job: AudioJob
    with_words: bool
    normalizer: InverseNormalizer | None = None  # where written forms are asked for
    with_posteriors: bool = False
    with_channels: bool = False  # each by itself

    def room(self) -> AnswerRoom:
        """The room of an empty answer."""
        return AnswerRoom(copies=2 if self.normalizer else 1)

    def written(self, transcript: Transcript, check: Callable[[], None]) -> Transcript:
        """``transcript`` as it is to be written. May take long, and ``check`` may end it."""
        return self.normalizer.transcript(transcript, check) if self.normalizer else transcript


class Pipeline:
    """Decodes audio, runs the model on batches, searches: each in its own place, off the loop."""

    def __init__(self, models: Models, audio: AudioWorkers, searches: Searches) -> None:
        self.models = models
        self._audio = audio
        self._searches = searches

    async def plan(self, config: RecognitionConfig, record: CallRecord) -> Plan:
        """Check what ``config`` asks for, and make its decoder.

        Raises:
            Refusal: there is no such model.
            AudioError, DecodingError: an option is out of range, or a phrase cannot be used.
            MissingPackageError: this server has no rules for written forms.
        """
        model = self.models.get(config.model)
        record.model = model.name
        options = read_options(config, model.recognizer.bundle)
        record.decoder = options.name
        job = read_job(config, model.recognizer.sample_rate)
        decoder = await self._decoder(model.recognizer, options, read_phrases(config))
        normalizer = None
        if config.enable_inverse_text_normalization:
            normalizer = await self._searches.run(lambda _: shared_normalizer())  # may read rules
        return Plan(
            model,
            decoder,
            job,
            config.enable_word_time_offsets,
            normalizer,
            config.enable_posteriors,
            config.enable_separate_recognition_per_channel,
        )

    async def transcribe(
        self, plan: Plan, audio: bytes | bytearray | Spool, place: Place, record: CallRecord
    ) -> list[SpeechRecognitionResult]:
        """The result for ``audio``, which is closed, or one for each channel of it.

        Raises:
            AsrError: the audio cannot be used, or is too long for the decoder.
        """
        with closing(audio if isinstance(audio, Spool) else Spool(audio)) as kept:
            record.audio_bytes = len(kept)
            if plan.with_channels:
                return await self._each_channel(plan, kept, place, record)
            if kept.data is not None:
                try:
                    with record.stage("admission"):
                        await place.turn()
                    result, _ = await self._at_once(plan, kept.data, record)
                    return [result]
                except LongAudioError:
                    place.rest()  # there are places of their own for such
            result, _ = await self._by_blocks(plan, kept, record, plan.room())
            return [result]

    async def _each_channel(
        self, plan: Plan, audio: Spool, place: Place, record: CallRecord
    ) -> list[SpeechRecognitionResult]:
        """One after the other: they take no more memory than one does."""
        if audio.data is not None:
            data = audio.data
            try:
                with record.stage("admission"):
                    await place.turn()
                return await _each(plan, record, lambda one: self._at_once(one, data, record))
            except LongAudioError:
                place.rest()  # there are places of their own for such
        room = plan.room()  # for the text of all
        return await _each(plan, record, lambda one: self._by_blocks(one, audio, record, room))

    async def _at_once(
        self, plan: Plan, audio: bytes | bytearray, record: CallRecord
    ) -> tuple[SpeechRecognitionResult, int]:
        """The result for what the plan's job makes of ``audio``, and of how many it is one."""
        with plan.model.batcher.coming():
            with record.stage("audio"):
                waveform, duration, channels = await self._audio.decode(plan.job, audio)
                prepared = plan.model.recognizer.prepare(waveform)
            record.audio_seconds, parts = duration, max(channels, 1)
            if prepared.is_silent:
                silence = Transcript((NO_WORDS,), duration)
                return write_result(silence, words=plan.with_words, parts=parts), parts
            check_duration(plan.decoder.options, duration * parts)
            if plan.with_posteriors:
                check_posterior_duration(duration * parts)
        if duration > SEGMENTS.max_seconds:
            blocks = _one(prepared.samples)
            result = await self._by_segments(plan, blocks, record, plan.room(), parts)
            if not plan.with_posteriors:
                return result, parts
            log_probs = await self._log_probs(plan.model, prepared, record)
        else:
            log_probs = await self._log_probs(plan.model, prepared, record)
            with record.stage("search"):
                result = await self._search(plan, log_probs, duration, parts)
        if plan.with_posteriors:  # they add to an answer, and change nothing of it
            await self._searches.run(lambda _: _add_posteriors(result, log_probs, plan.model))
        return result, parts

    async def _by_blocks(
        self, plan: Plan, audio: Spool, record: CallRecord, room: AnswerRoom
    ) -> tuple[SpeechRecognitionResult, int]:
        """The result for one channel, or their mean, and how many there are; ``room`` is left for
        its text."""
        if plan.with_posteriors:
            check_posterior_duration(math.inf)
        async with self._audio.blocks(plan.job, await audio.file()) as (reader, blocks):
            timed = timed_blocks(reader, blocks, record)
            result = await self._by_segments(plan, timed, record, room)
        return result, reader.channels

    async def _by_segments(
        self,
        plan: Plan,
        blocks: AsyncIterator[NDArray[np.float32]],
        record: CallRecord,
        room: AnswerRoom,
        parts: int = 1,
    ) -> SpeechRecognitionResult:
        reader = SegmentReader(
            plan.model, plan.decoder, self._searches, record, room, words=plan.with_words
        )
        with record.summed():
            transcript = await reader.read(blocks)
        # Resampling rounds: the length is that of the audio as it came.
        whole = replace(transcript, duration=record.audio_seconds, segments=())

        def write(stop: Stop) -> SpeechRecognitionResult:
            written = plan.written(whole, stop.check)
            return write_result(written, words=plan.with_words, parts=parts)

        return await self._searches.run(write)

    async def _decoder(
        self, recognizer: Recognizer, options: DecoderOptions, phrases: tuple[Phrase, ...]
    ) -> Decoder:
        """Many phrases take their time, and so does reading a graph: not on the event loop."""
        if not phrases and not isinstance(options, WfstOptions):
            return recognizer.decoder(options)
        return await self._searches.run(lambda _: recognizer.decoder(options, phrases))

    async def _log_probs(
        self, model: ServedModel, waveform: PreparedWaveform, record: CallRecord
    ) -> Tensor:
        """Log-probabilities ``(T, V)``."""
        batched = await model.batcher.submit(waveform)
        record.spent("batch", batched.waited)
        record.spent("model", batched.computed)
        record.batch_size = batched.size
        return batched.value

    async def _search(
        self, plan: Plan, log_probs: Tensor, duration: float, parts: int
    ) -> SpeechRecognitionResult:
        def search(stop: Stop) -> SpeechRecognitionResult:
            batch, lengths = log_probs[None], tensor([len(log_probs)])  # (1, T, V), (1,)
            [hypotheses] = plan.decoder.decode(batch, lengths, stop)
            kept = plan.model.recognizer.gate.keep(hypotheses, duration)
            transcript = plan.written(Transcript(kept, duration), stop.check)
            return write_result(transcript, words=plan.with_words, parts=parts)

        return await self._searches.run(search)


def _add_posteriors(result: SpeechRecognitionResult, log_probs: Tensor, model: ServedModel) -> None:
    recognizer = model.recognizer
    tokens, step = recognizer.tokenizer.tokens, recognizer.seconds_per_frame
    result.posteriors.CopyFrom(write_posteriors(log_probs, tokens, step))


async def _one(samples: NDArray[np.float32]) -> AsyncIterator[NDArray[np.float32]]:
    yield samples


async def _each(
    plan: Plan,
    record: CallRecord,
    result_of: Callable[[Plan], Awaitable[tuple[SpeechRecognitionResult, int]]],
) -> list[SpeechRecognitionResult]:
    """What ``result_of`` gives of each channel; it tells how many there are, too."""
    results: list[SpeechRecognitionResult] = []
    channels, seconds = 1, 0.0
    while len(results) < channels:
        job = replace(plan.job, channel=len(results), counts=True)
        result, channels = await result_of(replace(plan, job=job))
        seconds += record.audio_seconds
        result.channel_tag = len(results) + 1
        results.append(result)
    record.audio_seconds = seconds
    return results
