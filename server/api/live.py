"""One live stream, from its configuration to its last result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import grpc
import numpy as np
from numpy.typing import NDArray

from asr.audio import PcmStream, WavStream
from asr.audio.arriving import can_arrive
from asr.decoding import Stop
from asr.live import Event, Final, Interim, LiveOptions, LiveStream
from asr.live.endpoint import Reason
from asr.nn.chunks import Chunking
from asr.types import AudioError, ConfigError, Transcript
from server.api.blocks import audio_blocks
from server.api.live_messages import (
    check_decoder,
    read_chunking,
    read_live_options,
    write_final,
    write_interim,
    write_live_started,
)
from server.api.messages import SAMPLE_BYTES
from server.api.pipeline import Pipeline, Plan
from server.api.upload import Upload
from server.api.writing import Listener, write_within
from server.audio.pool import AudioJob, AudioWorkers
from server.engine.admission import Place
from server.engine.live import Hearing, LiveStreams
from server.engine.search_pool import Searches
from server.errors import Refusal
from server.pb.v1.speech_pb2 import (
    StreamingRecognitionConfig,
    StreamingRecognitionResults,
    StreamStarted,
    TranscribeStreamResponse,
)
from server.telemetry.flicker import ShownWords
from server.telemetry.records import CallRecord

__all__ = ["Listener", "LiveCalls"]

SLICE_BYTES = 64 * 1024  # of a message, between two looks at other calls


@dataclass(frozen=True)
class LivePlan:
    """What a live stream asks for, known to be possible before its audio comes."""

    plan: Plan
    options: LiveOptions
    chunking: Chunking
    has_interim: bool

    @property
    def jobs(self) -> list[AudioJob]:
        """What is to be heard: the audio as one, or each channel by itself."""
        job = self.plan.job
        if not self.plan.with_channels:
            return [job]
        return [replace(job, channel=channel) for channel in range(job.channels)]

    @property
    def is_read_whole(self) -> bool:
        """Whether its audio is a file that is decoded after its end."""
        encoding = self.plan.job.encoding
        return encoding not in (*SAMPLE_BYTES, "WAV") and not can_arrive(encoding)


class Source(Protocol):
    """What makes samples ``(N,)`` of bytes as they come, in blocks."""

    def push(self, data: bytes) -> AsyncIterator[NDArray[np.float32]]: ...

    def flush(self) -> AsyncIterator[NDArray[np.float32]]:
        """What has come and can be told without more; what comes after it begins anew."""
        ...

    def end(self) -> AsyncIterator[NDArray[np.float32]]: ...


class Samples:
    """Samples without a header or behind that of WAV, which need no process of their own."""

    def __init__(self, job: AudioJob) -> None:
        self._stream: PcmStream | WavStream
        if job.encoding == "WAV":
            self._stream = WavStream(job.sample_rate, job.channel, job.target_rate)
        else:
            self._stream = PcmStream(
                job.encoding, job.sample_rate, job.channels, job.channel, job.target_rate
            )

    async def push(self, data: bytes) -> AsyncIterator[NDArray[np.float32]]:
        """What the next bytes complete."""
        yield self._stream.push(data)

    async def flush(self) -> AsyncIterator[NDArray[np.float32]]:
        """What has come."""
        yield self._stream.flush()

    async def end(self) -> AsyncIterator[NDArray[np.float32]]:
        """What is left."""
        yield self._stream.end()


class LiveCalls:
    """Serves live streams: two sides that run at their own pace, the upload's and the results'.

    A client that does not read its results for ``idle_seconds`` loses its place. ``observe_final``
    is told of each final result why its segment ended, how many words interim results had shown,
    and how many of them it changed.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        streams: LiveStreams,
        audio: AudioWorkers,
        searches: Searches,
        idle_seconds: float,
        observe_final: Callable[[Reason, int, int], None] = lambda reason, shown, changed: None,
    ) -> None:
        self._observe_final = observe_final
        self._pipeline = pipeline
        self._streams = streams
        self._audio = audio
        self._searches = searches
        self._idle_seconds = idle_seconds

    async def run(
        self,
        config: StreamingRecognitionConfig,
        upload: Upload,
        place: Place,
        listener: Listener,
        record: CallRecord,
    ) -> None:
        """Answer one stream to its end.

        Raises:
            Refusal: there is no place, the client is too slow, or the server stops.
            AsrError: its options or its audio cannot be used.
        """
        live = await self._plan(config, record)
        place.stream(len(live.jobs))
        # All that may be refused is, before it starts.
        async with self._sources(live) as sources:
            with self._hearings(live, record) as hearings:
                started = TranscribeStreamResponse(started=self._started(live))
                await write_within(self._idle_seconds, listener, started)
                feeding = asyncio.create_task(self._feed(live, upload, sources, hearings, record))
                try:
                    await self._tell_all(live, hearings, listener)
                finally:
                    feeding.cancel()
                    await asyncio.wait({feeding})
        if any(hearing.is_drained for hearing in hearings):
            raise Refusal(
                grpc.StatusCode.UNAVAILABLE,
                "draining",
                "the server is stopping; results are complete up to the last one, "
                "go on with another stream",
            )

    async def _plan(self, config: StreamingRecognitionConfig, record: CallRecord) -> LivePlan:
        options = read_live_options(config)
        if config.config.enable_posteriors:
            raise ConfigError(
                "live streams have no posteriors", remedy="leave enable_posteriors out"
            )
        plan = await self._pipeline.plan(config.config, record)
        check_decoder(plan.decoder.options)
        chunking = read_chunking(config, plan.model.recognizer.bundle)
        plan.model.streamer(chunking)  # or it cannot be read by chunks
        if plan.with_channels and not plan.job.channels:
            raise ConfigError(
                "each channel of a live stream is asked for, and its audio has a header",
                remedy="send samples without one, or the whole file by another method",
            )
        return LivePlan(plan, options, chunking, config.interim_results)

    def _started(self, live: LivePlan) -> StreamStarted:
        model = live.plan.model
        return write_live_started(
            model.name,
            live.plan.job,
            live.chunking,
            model.recognizer.seconds_per_frame,
            at_end=live.is_read_whole,
        )

    @contextmanager
    def _hearings(self, live: LivePlan, record: CallRecord) -> Iterator[list[Hearing]]:
        """One for each channel, let go of at the end."""
        hearings = [self._open(live) for _ in live.jobs]
        try:
            yield hearings
        finally:
            for hearing in hearings:
                self._streams.close(hearing)
                record.spent("batch", hearing.waited)
                record.spent("model", hearing.computed)

    def _open(self, live: LivePlan) -> Hearing:
        recognizer, stop = live.plan.model.recognizer, Stop()
        streamer = live.plan.model.streamer(live.chunking)
        stream = LiveStream(
            streamer,
            live.plan.decoder,
            recognizer.tokenizer,
            live.options,
            recognizer.gate,
            stop,
        )
        return self._streams.open(streamer, stream, recognizer.sample_rate, stop)

    # Audio

    @asynccontextmanager
    async def _sources(self, live: LivePlan) -> AsyncIterator[list[Source]]:
        """What decodes the audio of each channel as it comes; none if it is read to its end."""
        async with AsyncExitStack() as stack:
            sources: list[Source] = []
            for job in () if live.is_read_whole else live.jobs:
                if can_arrive(job.encoding):
                    sources.append(await stack.enter_async_context(self._audio.follow(job)))
                else:
                    sources.append(Samples(job))
            yield sources

    async def _feed(
        self,
        live: LivePlan,
        upload: Upload,
        sources: Sequence[Source],
        hearings: Sequence[Hearing],
        record: CallRecord,
    ) -> None:
        """Hand the client's audio to ``hearings``; an error is told there."""
        try:
            if live.is_read_whole:
                await self._feed_whole(live, upload, hearings[0], record)
            else:
                ways = [*zip(sources, hearings, strict=True)]
                await self._feed_pieces(live, upload, ways, record)
            for hearing in hearings:
                await hearing.finish()
        except AudioError as error:  # what came before it was heard, and is told
            for hearing in hearings:
                await hearing.finish(error)
        except Exception as error:
            for hearing in hearings:
                hearing.fail(error)

    async def _feed_whole(
        self, live: LivePlan, upload: Upload, hearing: Hearing, record: CallRecord
    ) -> None:
        with closing(await upload.audio()) as audio, record.summed():
            record.audio_bytes = len(audio)
            blocks = audio_blocks(self._audio, live.plan.job, audio, record)
            async with aclosing(blocks):
                async for block in blocks:
                    await hearing.push(block)

    async def _feed_pieces(
        self,
        live: LivePlan,
        upload: Upload,
        ways: Sequence[tuple[Source, Hearing]],
        record: CallRecord,
    ) -> None:
        rate = live.plan.model.recognizer.sample_rate

        async def hear(hearing: Hearing, blocks: AsyncIterator[NDArray[np.float32]]) -> None:
            async for block in blocks:
                record.audio_seconds += len(block) / rate
                if len(block):
                    await hearing.push(block)

        async for piece in upload.live():
            if piece is None:
                for source, hearing in ways:
                    await hear(hearing, source.flush())
                    await hearing.force_end()
                continue
            record.audio_bytes += len(piece)
            for start in range(0, len(piece), SLICE_BYTES):
                for source, hearing in ways:
                    await hear(hearing, source.push(piece[start : start + SLICE_BYTES]))
                if len(piece) > SLICE_BYTES:
                    await asyncio.sleep(0)
        for source, hearing in ways:
            await hear(hearing, source.end())

    # Results

    async def _tell_all(
        self, live: LivePlan, hearings: Sequence[Hearing], listener: Listener
    ) -> None:
        """Write what all of ``hearings`` have to say, to their end, one answer after the other."""
        turn = asyncio.Lock()
        tags = range(1, len(hearings) + 1) if live.plan.with_channels else [0]
        telling = [
            asyncio.create_task(self._tell(live, hearing, listener, turn, tag))
            for tag, hearing in zip(tags, hearings, strict=True)
        ]
        try:
            await asyncio.gather(*telling)
        finally:
            for task in telling:
                task.cancel()
            await asyncio.wait(telling)

    async def _tell(
        self, live: LivePlan, hearing: Hearing, listener: Listener, turn: asyncio.Lock, tag: int
    ) -> None:
        """Write what ``hearing`` has to say of the channel ``tag``, to its end."""
        shown = ShownWords()
        async for events in hearing.events():
            for event in events:
                if isinstance(event, Final):
                    self._observe_final(event.reason, *shown.settle(event.text))
                elif live.has_interim:
                    shown.show(event.text)
                if live.has_interim or not isinstance(event, Interim):
                    results = await self._results(live, event)
                    for part in results.results:
                        part.channel_tag = tag
                    async with turn:
                        await write_within(
                            self._idle_seconds, listener, TranscribeStreamResponse(results=results)
                        )

    async def _results(self, live: LivePlan, event: Event) -> StreamingRecognitionResults:
        words = live.plan.with_words
        if isinstance(event, Interim):
            return write_interim(event, words=words)
        single = live.options.single_utterance
        written = live.plan.written

        def write(stop: Stop) -> StreamingRecognitionResults:
            transcript = written(Transcript(event.hypotheses, event.end - event.start), stop.check)
            final = replace(event, hypotheses=transcript.hypotheses)
            return write_final(final, words=words, single_utterance=single)

        return await self._searches.run(write)
