"""The rooms of the server put together: what each is given, and how many of each there are."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from asr.audio import AudioLimits
from asr.recognizer import Recognizer
from asr.types import AsrError
from server.api.live import LiveCalls
from server.api.pipeline import Pipeline
from server.api.service import SpeechService
from server.audio.pool import AudioWorkers
from server.engine.admission import Admission
from server.engine.batching import Batcher
from server.engine.live import LiveStreams
from server.engine.models import Loaded, Models, ModelSource
from server.engine.search_pool import Searches
from server.limits import MAX_CHANNELS, MAX_RATE, MIN_RATE, WHOLE_BYTES, WHOLE_SECONDS
from server.options import CapacityOptions, ServerOptions
from server.resources import PACE_SECONDS, available_bytes, give_back
from server.riva.door import open_door
from server.telemetry.logs import log_call
from server.telemetry.metrics import METHODS, Metrics
from server.telemetry.tracing import Tracing
from server.transport.authentication import Tokens
from server.transport.call_log import CallLog
from server.transport.entrance import Entrance
from server.transport.health import Health

__all__ = ["LIMITS", "Application", "give_back_at_a_pace"]

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.8
# Each needs a place of admission; the others are answered however many calls there are.
TRANSCRIBING = (
    *("Transcribe", "TranscribeChunks", "TranscribeStream"),
    *("Recognize", "StreamingRecognize"),  # of Riva's clients
)
LIMITS = AudioLimits(
    max_bytes=WHOLE_BYTES,
    max_seconds=WHOLE_SECONDS,
    min_rate=MIN_RATE,
    max_rate=MAX_RATE,
    max_channels=MAX_CHANNELS,
)


class Application:
    """All that serves calls but the port.

    Args:
        source: where bundles are.
        read: makes a recogniser of a bundle's folder.
        options: the operator's choice.

    Raises:
        ConfigError: the file of tokens cannot be used.
    """

    def __init__(
        self, source: ModelSource, read: Callable[[Path], Recognizer], options: ServerOptions
    ) -> None:
        capacity = options.capacity
        token_file = options.listen.token_file
        self.tokens = None if token_file is None else Tokens.load(token_file)
        self.health = Health()
        self.metrics = Metrics()
        self.tracing = Tracing.start() if options.tracing else Tracing()
        # Loading has a thread of its own, so that calls go on meanwhile.
        self._model_threads = ThreadPoolExecutor(options.batch.parallel, thread_name_prefix="model")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")
        # Live streams do not wait behind batches of long recordings.
        self._live_threads = ThreadPoolExecutor(options.stream.parallel, thread_name_prefix="live")
        self.live = LiveStreams(
            self._live_threads,
            options.stream,
            self.metrics.observe_live,
            self.metrics.observe_chunk,
        )
        self.admission = _admission(capacity, options.stream.streams)
        slots = asyncio.Semaphore(options.batch.parallel)  # of all models together
        self.models = Models(
            source,
            read,
            lambda compute: Batcher(
                compute,
                self._model_threads,
                options.batch,
                self.metrics.observe_batch,
                slots,
            ),
        )
        self._audio = AudioWorkers(
            capacity.audio_processes, LIMITS, on_restart=self.metrics.observe_restart
        )
        self._searches = Searches(capacity.search_threads)
        pipeline = Pipeline(self.models, self._audio, self._searches)
        idle = capacity.idle_seconds
        live = LiveCalls(
            pipeline,
            self.live,
            self._audio,
            self._searches,
            idle,
            self.metrics.observe_final,
        )
        self.service = SpeechService(pipeline, live, self.admission, idle)
        self.riva = open_door(pipeline, live, self.admission, idle)
        placed = [f"/{path}" for path, name in METHODS.items() if name in TRANSCRIBING]
        self.entrance = Entrance(self.admission.check_room, placed)
        self._giving_back: asyncio.Task[None] | None = None
        self.call_log = CallLog((log_call, self.metrics.observe, self.tracing.observe))
        self._watch_queues()

    def _watch_queues(self) -> None:
        admission, models = self.admission, self.models
        self.metrics.watch_calls(lambda: self.call_log.active)
        self.metrics.watch_queue("accepted", lambda: admission.accepted)
        self.metrics.watch_queue("working", lambda: admission.working)
        self.metrics.watch_queue("batch", lambda: sum(len(model.batcher) for model in models.all()))
        self.metrics.watch_queue("search", lambda: len(self._searches))
        self.metrics.watch_queue("streams", lambda: admission.streams)
        self.metrics.watch_queue("chunks", lambda: len(self.live))

    async def start(self) -> None:
        """Start the processes and load the models.

        Raises:
            AsrError: no model can be loaded, or not the default one.
        """
        await self._audio.start()
        await self._load()
        self._giving_back = asyncio.create_task(give_back_at_a_pace(self._loader))

    async def reload(self) -> None:
        """Read tokens and models again; what cannot be read stays as it was, as the log says."""
        try:
            if self.tokens is not None:
                self.tokens.reload()
        except AsrError as error:
            log.error("tokens not reloaded, the old ones stay: %s", error)
        try:
            loaded = await self._load()
            log.info("models reloaded: %s", "; ".join(loaded.changes) or "nothing changed")
            self.metrics.observe_reload(ok=not loaded.failed)
        except Exception as error:
            # A defect of ours, or of a library that meets a strange file, is no reason to end.
            traceback = None if isinstance(error, AsrError) else error
            log.error("models not reloaded, the old ones stay: %s", error, exc_info=traceback)
            self.metrics.observe_reload(ok=False)

    async def _load(self) -> Loaded:
        loaded = await asyncio.get_running_loop().run_in_executor(self._loader, self._read_models)
        self.metrics.set_models({model.name: model.fingerprint for model in self.models.all()})
        return loaded

    def _read_models(self) -> Loaded:
        loaded = self.models.load()
        # The garbage collector need not look at what stays: now and then it would, for a tenth of
        # a second in which nobody is served.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        return loaded

    async def close(self) -> None:
        """Stop processes, and threads that have nothing to do."""
        if self._giving_back is not None:
            self._giving_back.cancel()
        await self._audio.close()
        self._searches.close()
        for executor in (self._model_threads, self._live_threads, self._loader):
            executor.shutdown(wait=False, cancel_futures=True)
        self.tracing.stop()


async def give_back_at_a_pace(executor: Executor, work: Callable[[], None] = give_back) -> None:
    """Give back what calls have freed, in ``executor``, every ``PACE_SECONDS`` until cancelled."""
    while True:
        await asyncio.sleep(PACE_SECONDS)
        await asyncio.get_running_loop().run_in_executor(executor, work)


def _admission(capacity: CapacityOptions, streams: int) -> Admission:
    mark = capacity.memory_mark
    if mark is None:
        mark = int(MEMORY_SHARE * available_bytes())
    return Admission(
        capacity.running,
        capacity.waiting,
        upload_bytes=capacity.upload_bytes,
        streams=streams,
        memory_mark=mark or None,
    )
