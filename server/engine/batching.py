"""Joins the audio of calls that arrive together into batches of one model."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from asr.recognizer import PreparedWaveform
from asr.types import AsrError
from server.options import BatchOptions

__all__ = ["Batched", "Batcher"]

R = TypeVar("R")


@dataclass(frozen=True)
class Batched(Generic[R]):
    """What a batch gave for one of its waveforms.

    ``waited`` and ``computed`` are seconds: until the batch began, and in the model; ``size`` is
    the number of waveforms in the batch.
    """

    value: R
    waited: float
    computed: float
    size: int


@dataclass(eq=False)
class _Waiting(Generic[R]):
    waveform: PreparedWaveform
    future: asyncio.Future[Batched[R]]
    arrived: float

    @property
    def length(self) -> int:
        return len(self.waveform.samples)


class Batcher(Generic[R]):
    """Up to ``options.parallel`` batches at a time go through ``compute``, in ``executor``.

    A batch is the oldest waveform and those nearest to its length that fit beside it. While the
    model works, calls gather; when it is free, it takes what is there. It waits for more only while
    other calls are :meth:`coming`, and then no longer than ``options.wait_seconds``: a call alone
    is never held up.

    ``compute`` gives one result a waveform; each is its own, whatever else is in the batch.
    ``observe`` is told the size of each batch and how long it took. Batchers that share an executor
    share its ``slots``, ``options.parallel`` of them: what waits for a thread is no batch yet.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[PreparedWaveform]], Sequence[R]],
        executor: Executor,
        options: BatchOptions,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
        slots: asyncio.Semaphore | None = None,
    ) -> None:
        self._compute = compute
        self._executor = executor
        self._options = options
        self._observe = observe
        self._coming = 0
        self._queue: deque[_Waiting[R]] = deque()
        self._arrival = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._slots = slots or asyncio.Semaphore(options.parallel)
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Waveforms that wait for a batch."""
        return len(self._queue)

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Tell that a waveform is on its way, as long as the context lasts."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1
            self._arrival.set()  # perhaps it was the last, and there is nothing to wait for

    async def submit(self, waveform: PreparedWaveform) -> Batched[R]:
        """The result for ``waveform``. A call cancelled before its batch begins costs nothing.

        Raises:
            AsrError: ``compute`` refuses this waveform, be it alone.
        """
        loop = asyncio.get_running_loop()
        entry = _Waiting[R](waveform, loop.create_future(), time.perf_counter())
        self._queue.append(entry)
        self._arrival.set()
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        try:
            return await entry.future
        except asyncio.CancelledError:
            if entry in self._queue:
                self._queue.remove(entry)
            raise

    async def _work(self) -> None:
        """Make batches until nobody waits."""
        try:
            while self._queue:
                await self._slots.acquire()
                await self._gather()
                batch = self._take()
                task = asyncio.get_running_loop().create_task(self._run(batch))
                self._running.add(task)  # the loop itself keeps no hold of it
                task.add_done_callback(self._ended)
        finally:
            self._worker = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()

    async def _gather(self) -> None:
        """Let calls that are on their way arrive, for a bounded time."""
        end = time.perf_counter() + self._options.wait_seconds
        while self._coming and not self._is_full():
            self._arrival.clear()
            try:
                await asyncio.wait_for(self._arrival.wait(), end - time.perf_counter())
            except asyncio.TimeoutError:
                return

    def _is_full(self) -> bool:
        total = sum(entry.length / entry.waveform.sample_rate for entry in self._queue)
        return total >= self._options.batch_seconds

    def _take(self) -> list[_Waiting[R]]:
        """Remove the next batch from the queue: the oldest, and those nearest to it in length.

        As many as there is room for, but a share of the free models alone, and as little of the
        batch as ``options.padding`` is padding. Those passed over stay in order; the oldest is
        always taken, so none is passed over for ever.
        """
        if not self._queue:  # all were cancelled meanwhile
            return []
        share = math.ceil(len(self._queue) / (self._options.parallel - len(self._running)))
        oldest = self._queue[0]
        batch, longest, total = [oldest], oldest.length, oldest.length
        for entry in sorted(
            islice(self._queue, 1, None), key=lambda e: abs(e.length - oldest.length)
        ):
            padded = (len(batch) + 1) * max(longest, entry.length)
            is_small = padded <= self._options.batch_seconds * entry.waveform.sample_rate
            padding = padded - total - entry.length
            if len(batch) == share or not is_small or padding > self._options.padding * padded:
                break
            batch.append(entry)
            longest, total = max(longest, entry.length), total + entry.length
        taken = set(map(id, batch))
        self._queue = deque(entry for entry in self._queue if id(entry) not in taken)
        return batch

    async def _run(self, batch: Sequence[_Waiting[R]]) -> None:
        """Compute ``batch`` and hand its results out; if it fails, each waveform is tried alone."""
        if not batch:
            return
        loop = asyncio.get_running_loop()
        begun = time.perf_counter()
        waveforms = [entry.waveform for entry in batch]
        try:
            results = await loop.run_in_executor(self._executor, self._compute, waveforms)
            computed = time.perf_counter() - begun
            self._observe(len(batch), computed)
            answers = list(zip(batch, results, strict=True))
        except AsrError as error:
            if len(batch) == 1:
                _fail(batch[0].future, error)
                return
            for entry in batch:
                await self._run([entry])
            return
        except Exception as error:  # whatever it is, nobody is left waiting
            for entry in batch:
                _fail(entry.future, error)
            return
        for entry, value in answers:
            if not entry.future.done():  # cancelled meanwhile
                waited = begun - entry.arrived
                entry.future.set_result(Batched(value, waited, computed, len(batch)))


def _fail(future: asyncio.Future[Batched[R]], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
