"""Audio from outside is decoded in processes of its own: a few of them, and a queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioLimits
from asr.audio.limits import check_bytes
from asr.types import AudioError, ConfigError
from server.audio.blocks import BlockReader
from server.audio.following import Follower
from server.audio.peer import Peer
from server.audio.process import (
    LongAudioError,
    NotTakenError,
    WorkerDiedError,
    WorkerProcess,
)
from server.audio.worker import AudioJob, Decoded
from server.errors import Refusal
from server.limits import STREAM_BYTES, UPLOAD_BYTES_PER_SECOND

__all__ = ["AudioJob", "AudioWorkers", "Decoded", "LongAudioError", "WorkerDiedError"]

log = logging.getLogger(__name__)

# A call that is given up may still finish its job, for a new process takes a little longer.
CANCEL_SECONDS = 0.1
FOLLOWERS = 8  # recordings that are decoded while they come, for each process of the pool
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0  # seconds, before a process that keeps ending is replaced


class AudioWorkers:
    """``count`` worker processes, each with one job at a time; further jobs wait in their order.

    A process that ends fails the job it had, and no other; a new one takes its place. Jobs of more
    than ``seconds_per_job`` are ended. ``async with`` starts and closes. ``on_restart`` is called
    whenever a process had to be replaced. Recordings beyond ``limits`` have processes of their own,
    ``count`` of them at a time, and so have ``FOLLOWERS`` times as many that are decoded while they
    come.
    """

    def __init__(
        self,
        count: int,
        limits: AudioLimits,
        *,
        seconds_per_job: float = 30.0,
        on_restart: Callable[[], None] = lambda: None,
    ) -> None:
        self._count = count
        self._limits = limits
        self._long_limits = replace(
            limits, max_bytes=2**62, max_seconds=math.inf, max_decoded_bytes=2**62
        )
        self._seconds_per_job = seconds_per_job
        self._on_restart = on_restart
        self._processes: dict[int, WorkerProcess] = {}  # by pid
        self._idle: deque[WorkerProcess] = deque()
        self._waiting: deque[asyncio.Future[WorkerProcess]] = deque()
        self._keepers: list[asyncio.Task[None]] = []
        self._jobs: set[asyncio.Task[Decoded]] = set()
        self._readers: set[Peer] = set()
        self._free_followers = FOLLOWERS * count
        self._reader_places = asyncio.Semaphore(count)
        self._is_open = False

    async def __aenter__(self) -> AudioWorkers:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @property
    def pids(self) -> list[int]:
        """The processes that are there now."""
        return list(self._processes)

    async def start(self) -> None:
        """Start all processes; returns when they are ready.

        Raises:
            ConfigError: one does not start. It has written why to stderr.
        """
        started = await asyncio.gather(
            *(WorkerProcess.start(self._limits) for _ in range(self._count)),
            return_exceptions=True,
        )
        processes = [process for process in started if isinstance(process, WorkerProcess)]
        if len(processes) < self._count:
            await asyncio.gather(*(process.stop() for process in processes))
            [error, *_] = (error for error in started if isinstance(error, BaseException))
            raise ConfigError(
                f"no process for decoding audio: {error}",
                remedy="see what it wrote to stderr, or raise the system's limits of processes",
            ) from error
        self._is_open = True
        for process in processes:
            self._add(process)
        self._keepers = [asyncio.create_task(self._keep(process)) for process in processes]

    async def close(self) -> None:
        """End all processes; calls that still wait or run fail with WorkerDiedError."""
        self._is_open = False
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(WorkerDiedError("the audio workers are closed"))
        self._waiting.clear()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for reader in self._readers:
            reader.kill()
        await asyncio.gather(*map(self._forget, list(self._processes.values())))
        await asyncio.gather(*self._jobs, return_exceptions=True)

    async def decode(self, job: AudioJob, audio: bytes | bytearray | memoryview) -> Decoded:
        """The waveform at ``job.target_rate``, and what else is to be known of the audio.

        A cancelled caller leaves the queue; a job that runs then has 100 ms to finish. ``audio``
        must not change until the call returns, and 100 ms longer if it is cancelled.

        Raises:
            AudioError: the audio is not what ``job`` says, not usable, beyond the limits, or takes
                too long.
            LongAudioError: it is longer, or larger, than the limits: :meth:`blocks` decodes it.
            WorkerDiedError: the process ended during this job, or :meth:`close` was called.
        """
        view = memoryview(audio)
        check_bytes(view.nbytes, self._limits)
        loop = asyncio.get_running_loop()
        while True:
            process = await self._take()
            task = asyncio.create_task(self._work(process, job, view))
            self._jobs.add(task)
            task.add_done_callback(self._forget_job)
            try:
                return await asyncio.shield(task)
            except NotTakenError:
                continue
            except asyncio.CancelledError:
                loop.call_later(CANCEL_SECONDS, _kill_unless_done, process, task)
                raise
            finally:
                del task  # it holds the error, whose traceback holds this frame and the audio

    @asynccontextmanager
    async def blocks(
        self, job: AudioJob, file: int
    ) -> AsyncIterator[tuple[BlockReader, AsyncIterator[NDArray[np.float32]]]]:
        """Decode the recording in an open ``file``, however long, as its blocks are asked for.

        A process of its own reads it, which ends with the context, at once. The reader tells the
        recording's seconds when all blocks ``(N,)`` at ``job.target_rate`` have come.

        Raises:
            AudioError: as :meth:`decode`, of the blocks as well.
            WorkerDiedError: the process does not start, or ended, or :meth:`close` was called.
        """
        async with self._reader_places:
            if not self._is_open:
                raise WorkerDiedError("the audio workers are closed")
            reader = await BlockReader.start(job, file, self._long_limits)
            self._readers.add(reader)
            try:
                yield reader, reader.blocks(self._seconds_per_job)
            finally:
                self._readers.discard(reader)
                await reader.stop()

    @asynccontextmanager
    async def follow(self, job: AudioJob) -> AsyncIterator[Follower]:
        """A process of its own that decodes a recording while it comes, of a container for which
        :func:`asr.audio.arriving.can_arrive`. It ends with the context, at once.

        Of compressed audio less is taken than of samples: as long as these may be, and no more
        seconds than what is spoken has in so many bytes.

        Raises:
            Refusal: there are as many as there may be.
            WorkerDiedError: the process does not start, or :meth:`close` was called.
        """
        if not self._is_open:
            raise WorkerDiedError("the audio workers are closed")
        if not self._free_followers:
            raise Refusal(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "full",
                "the server decodes as many recordings while they come as it can; try again later, "
                "or send samples",
                retry=True,
            )
        limits = replace(
            self._long_limits,
            max_seconds=STREAM_BYTES / (2 * job.target_rate),
            max_expansion=4 * job.target_rate / UPLOAD_BYTES_PER_SECOND,
        )
        self._free_followers -= 1
        try:
            follower = await Follower.start(job, limits, self._seconds_per_job)
            self._readers.add(follower)
            try:
                yield follower
            finally:
                self._readers.discard(follower)
                await follower.stop()
        finally:
            self._free_followers += 1

    def _forget_job(self, task: asyncio.Task[Decoded]) -> None:
        self._jobs.discard(task)
        if not task.cancelled():
            task.exception()  # else asyncio complains where the caller was cancelled

    async def _work(self, process: WorkerProcess, job: AudioJob, audio: memoryview) -> Decoded:
        is_overdue = False

        def end() -> None:
            nonlocal is_overdue
            is_overdue = True
            process.kill()

        timer = asyncio.get_running_loop().call_later(self._seconds_per_job, end)
        try:
            return await process.decode(job, audio, self._limits)
        except WorkerDiedError as error:
            log.warning("%s", error)
            if is_overdue:
                raise AudioError(
                    f"the audio takes more than {self._seconds_per_job:g} s to decode",
                    remedy="cut it into shorter pieces",
                ) from None
            raise
        finally:
            timer.cancel()
            if process.is_idle:
                self._offer(process)
            else:
                process.kill()

    async def _take(self) -> WorkerProcess:
        """The next idle process, in the order of asking."""
        if not self._is_open:
            raise WorkerDiedError("the audio workers are closed")
        if self._idle:
            return self._idle.popleft()
        waiter: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.exception() is None:
                self._offer(waiter.result())  # given in the moment of cancellation
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(waiter)

    def _offer(self, process: WorkerProcess) -> None:
        """Give an idle process to who has waited longest, or put it by."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(process)
                return
        self._idle.append(process)

    async def _keep(self, process: WorkerProcess) -> None:
        """Put another in the place of ``process`` whenever it has ended, until cancelled."""
        delay = 0.0
        while True:
            status = await process.wait()
            await self._forget(process)
            # What ends it without any job would end the next one too.
            delay = 0.0 if process.jobs else min(max(2 * delay, FIRST_DELAY), LONGEST_DELAY)
            log.warning("an audio worker ended with %d: starting another", status)
            self._on_restart()
            process = await self._replace(delay)
            self._add(process)

    def _add(self, process: WorkerProcess) -> None:
        self._processes[process.pid] = process
        self._offer(process)

    async def _forget(self, process: WorkerProcess) -> None:
        with contextlib.suppress(ValueError):
            self._idle.remove(process)
        await process.stop()
        self._processes.pop(process.pid, None)

    async def _replace(self, delay: float) -> WorkerProcess:
        while True:
            await asyncio.sleep(delay)
            try:
                return await WorkerProcess.start(self._limits)
            except Exception as error:  # of the system, and perhaps not for long
                delay = min(max(2 * delay, FIRST_DELAY), LONGEST_DELAY)
                log.error("no process for decoding audio (%s): trying again", error)


def _kill_unless_done(process: WorkerProcess, task: asyncio.Task[object]) -> None:
    if not task.done():
        process.kill()
