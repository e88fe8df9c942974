"""Live streams at work: what is ready in many of them goes through the model together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asr.decoding import Stop
from asr.live import Event, Final, Interim, LiveStream
from asr.stream import Session
from server.options import StreamOptions
from server.timeout import within

__all__ = ["Computing", "Hearing", "LiveStreams"]

MOST_FINALS = 16  # of one stream, not read by its client, before it is computed no further
MOST_STEPS = 4  # of one batch, for streams of which a look-ahead of chunks is left at the end
MOST_WAITING = 512  # pieces and ends of segments of one stream that wait to be computed

Samples = NDArray[np.float32]
Control = Callable[[], list[Event]]  # a method of a stream
Outcome = list[Event] | Exception


class Computing(Protocol):
    """The network of streams that can be computed together: an :class:`asr.stream.Streamer`."""

    def step(self, sessions: Sequence[Session]) -> list[Tensor]:
        """The next chunk's log-probabilities of each."""
        ...


class Hearing:
    """One live stream: samples go in, events come out, and neither waits without bound.

    Audio that waits is at most ``buffer_seconds`` long; :meth:`push` waits until there is room. Of
    events that nobody takes, an interim result makes place for the next one, and final ones, when
    they are many, keep the stream from being computed any further.

    It is made by :meth:`LiveStreams.open`, belongs to one event loop, and holds nothing that
    another stream could see.
    """

    def __init__(
        self, streams: LiveStreams, network: Computing, stream: LiveStream, rate: int, stop: Stop
    ) -> None:
        self.network = network
        self.stream = stream
        self.ready_since = 0.0  # by the loop's clock, while it waits for a batch
        self.waited = self.computed = 0.0  # seconds, of all its chunks
        self.chunks = 0
        self.is_drained = False  # it ended because the server stops
        self._streams = streams
        self._stop = stop
        self._most_samples = int(streams.options.buffer_seconds * rate)
        self._inbox: deque[Samples | Control] = deque()
        self._samples = 0  # in the inbox
        self._room = asyncio.Event()
        self._outbox: deque[Event] = deque()
        self._news = asyncio.Event()
        self._is_busy = False  # queued, or in a batch: the stream is another thread's
        self._is_finishing = False
        self._is_draining = False
        self._is_over = False
        self._error: Exception | None = None

    # For the call

    async def push(self, samples: Samples) -> None:
        """Take in ``samples (N,)`` at the model's rate, once there is room for them."""
        step = max(1, self._most_samples // 2)
        for start in range(0, len(samples), step):
            await self._put(samples[start : start + step])

    async def force_end(self) -> None:
        """End the segment behind the samples so far."""
        await self._put(self.stream.force_end)

    async def finish(self, error: Exception | None = None) -> None:
        """No more samples will come; whoever waits for events is told ``error`` after the last."""
        self._is_finishing = True
        if not self._is_closed:
            self._error = error
        await self._put(self.stream.finish)

    def fail(self, error: Exception) -> None:
        """End it with ``error``, which whoever waits for events is told."""
        if not self._is_over:
            self._error = error
            self._end()

    async def events(self) -> AsyncIterator[list[Event]]:
        """What is said, in groups, as it becomes known, to the stream's end.

        Raises:
            Exception: what :meth:`fail` or :meth:`finish` was given, or the computation raised.
        """
        while True:
            while not self._outbox and not self._is_over:
                self._news.clear()
                await self._news.wait()
            if self._outbox:
                events = [*self._outbox]
                self._outbox.clear()
                self._pump()
                yield events
            elif self._error is not None:
                raise self._error
            else:
                return

    # For the server

    def drain(self) -> None:
        """The server stops: end with the segment."""
        self._is_draining = True

    def cut(self) -> None:
        """The server can wait no longer: end here, with what has come."""
        if not self._is_over and not self._is_finishing:
            self._inbox.append(self.stream.finish)
            self.is_drained = True
            self._room.set()
            self._pump()

    def close(self) -> None:
        """Nobody wants more of it; a search that runs for it is told to end."""
        self._stop.set()
        self._outbox.clear()
        self._end()

    @property
    def is_urgent(self) -> bool:
        """Whether somebody waits for a final result: audio has ended, or a segment is to."""
        return not self.stream.is_ready or self.stream.session.ended

    def take_control(self) -> Control | None:
        """What the batch is to do before it computes this stream's next chunk."""
        if self.stream.is_ready or not self._inbox or isinstance(self._inbox[0], np.ndarray):
            return None
        control = self._inbox.popleft()
        assert not isinstance(control, np.ndarray)
        return control

    def settle(self, outcome: Outcome) -> None:
        """What a batch has come to for this stream."""
        self._is_busy = False
        if isinstance(outcome, Exception):
            self.fail(outcome)
            return
        for event in outcome:
            if not self._is_over:
                self._tell(event)
        if self.stream.has_ended:
            self._end()
        self._pump()

    # Within

    async def _put(self, item: Samples | Control) -> None:
        count = len(item) if isinstance(item, np.ndarray) else 0
        while not self._is_closed and not self._has_room(count):
            self._room.clear()
            await self._room.wait()
        if not self._is_closed:
            self._inbox.append(item)
            self._samples += count
            self._pump()

    @property
    def _is_closed(self) -> bool:
        """Whether what is put in would not be heard."""
        return self._is_over or self.is_drained

    def _has_room(self, count: int) -> bool:
        return self._samples + count <= self._most_samples and len(self._inbox) < MOST_WAITING

    def _pump(self) -> None:
        """Hand samples to the stream until its next chunk is ready, then queue it."""
        if self._is_busy or self._is_over or self._finals() >= MOST_FINALS:
            return
        try:
            while self._inbox and not self.stream.is_ready:
                item = self._inbox[0]
                if not isinstance(item, np.ndarray):
                    break
                self._inbox.popleft()
                self._samples -= len(item)
                self.stream.push(item)
        except Exception as error:  # whatever it is, nobody is left waiting
            self.fail(error)
            return
        self._room.set()
        if self._inbox or self.stream.is_ready:
            self._is_busy = True
            self._streams.queue(self)

    def _finals(self) -> int:
        return sum(isinstance(event, Final) for event in self._outbox)

    def _tell(self, event: Event) -> None:
        if self._outbox and isinstance(self._outbox[-1], Interim):
            self._outbox.pop()  # what comes later says more
        self._outbox.append(event)
        self._news.set()
        if self._is_draining and isinstance(event, Final) and not self._is_last(event):
            self.is_drained = True
            self._end()

    def _is_last(self, event: Final) -> bool:
        """Whether the client expects nothing behind it: its audio has ended, or its utterance."""
        return event.reason == "finished" or self.stream.has_ended

    def _end(self) -> None:
        self._is_over = True
        self._inbox.clear()
        self._samples = 0
        self._room.set()
        self._news.set()


class LiveStreams:
    """All live streams of a server; up to ``options.parallel`` batches of them at a time.

    A batch is the next chunk of the stream that has been ready for longest, and those of others
    that its network can compute with it. It waits for others for ``options.wait_seconds`` at most,
    so no stream waits for another's audio. The last chunks of audio that has ended do not wait, and
    are computed in one batch. ``observe`` is told the size of each batch and its seconds,
    ``observe_chunk`` the seconds that each chunk took from when its audio had come.
    """

    def __init__(
        self,
        executor: Executor,
        options: StreamOptions,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
        observe_chunk: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.options = options
        self._executor = executor
        self._observe = observe
        self._observe_chunk = observe_chunk
        self._open: set[Hearing] = set()
        self._queue: deque[Hearing] = deque()
        self._arrival = asyncio.Event()
        self._slots = asyncio.Semaphore(options.parallel)
        self._worker: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._is_draining = False
        self._is_cut = False

    def __len__(self) -> int:
        """Chunks that wait for a batch."""
        return len(self._queue)

    def open(self, network: Computing, stream: LiveStream, rate: int, stop: Stop) -> Hearing:
        """``stream`` at work, to be given to :meth:`close` in the end.

        Args:
            network: computes it; streams of the same one are computed together.
            stream: without any audio yet.
            rate: of its samples.
            stop: what ``stream`` was made with.
        """
        hearing = Hearing(self, network, stream, rate, stop)
        self._open.add(hearing)
        if self._is_draining:
            hearing.drain()
        if self._is_cut:
            hearing.cut()
        return hearing

    def close(self, hearing: Hearing) -> None:
        """Let go of ``hearing``, wherever it is."""
        hearing.close()
        self._open.discard(hearing)
        if hearing in self._queue:
            self._queue.remove(hearing)

    def drain(self, seconds: float) -> None:
        """Let every stream end with its segment, and at the latest after ``seconds``."""
        self._is_draining = True
        for hearing in self._open:
            hearing.drain()
        asyncio.get_running_loop().call_later(seconds, self._cut)

    def _cut(self) -> None:
        self._is_cut = True
        for hearing in [*self._open]:
            hearing.cut()

    def queue(self, hearing: Hearing) -> None:
        """``hearing`` is ready to be computed."""
        loop = asyncio.get_running_loop()
        hearing.ready_since = loop.time()
        self._queue.append(hearing)
        self._arrival.set()
        if self._worker is None:
            self._worker = loop.create_task(self._work())

    async def _work(self) -> None:
        """Make batches until nobody is ready."""
        try:
            while self._queue:
                await self._slots.acquire()
                await self._gather()
                task = asyncio.get_running_loop().create_task(self._run(self._take()))
                self._running.add(task)  # the loop itself keeps no hold of it
                task.add_done_callback(self._ended)
        finally:
            self._worker = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()

    async def _gather(self) -> None:
        """Let others become ready, for a bounded time after the first."""
        while self._queue and len(self._queue) < self.options.batch_streams:
            first = self._queue[0]
            if first.is_urgent:
                return
            left = first.ready_since + self.options.wait_seconds - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._arrival.clear()
            try:
                await within(left, self._arrival.wait())
            except asyncio.TimeoutError:
                return

    def _take(self) -> list[Hearing]:
        """Remove the next batch from the queue: the first, and those of its network, in order."""
        if not self._queue:  # all were closed meanwhile
            return []
        network = self._queue[0].network
        fitting = [hearing for hearing in self._queue if hearing.network is network]
        batch = fitting[: self.options.batch_streams]
        taken = set(map(id, batch))
        self._queue = deque(hearing for hearing in self._queue if id(hearing) not in taken)
        return batch

    async def _run(self, batch: Sequence[Hearing]) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()
        begun = loop.time()
        controls = [hearing.take_control() for hearing in batch]
        outcomes: Sequence[Outcome]
        try:
            outcomes = await loop.run_in_executor(self._executor, _compute, batch, controls)
        except Exception as error:  # whatever it is, nobody is left waiting
            outcomes = [error] * len(batch)
        seconds = loop.time() - begun
        self._observe(len(batch), seconds)
        for hearing, outcome in zip(batch, outcomes, strict=True):
            hearing.waited += begun - hearing.ready_since
            self._observe_chunk(begun + seconds - hearing.ready_since)
            hearing.computed += seconds / len(batch)
            hearing.chunks += 1
            hearing.settle(outcome)


def _compute(batch: Sequence[Hearing], controls: Sequence[Control | None]) -> list[Outcome]:
    """What each stream of ``batch`` says next; one that fails leaves the others alone."""
    outcomes: list[Outcome] = [_attempt(control) if control else [] for control in controls]
    for step in range(MOST_STEPS):
        ready = [
            index
            for index, hearing in enumerate(batch)
            if not isinstance(outcomes[index], Exception) and _wants(hearing.stream, step)
        ]
        if not ready:
            break
        computed = batch[0].network.step([batch[index].stream.session for index in ready])
        for index, log_probs in zip(ready, computed, strict=True):
            before, said = outcomes[index], _attempt(partial(batch[index].stream.accept, log_probs))
            assert isinstance(before, list)
            outcomes[index] = said if isinstance(said, Exception) else [*before, *said]
    return outcomes


def _wants(stream: LiveStream, step: int) -> bool:
    """Whether a batch is to compute a chunk of ``stream`` in its step, the first of which is 0."""
    return stream.is_ready and (step == 0 or stream.session.ended)


def _attempt(work: Control) -> Outcome:
    try:
        return work()
    except Exception as error:
        return error
