"""The server's side of one audio worker: start it, hand it a job, distrust its answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioLimits
from asr.types import AudioError, Waveform
from server.audio.worker import FRAME, READY, AudioJob, pack
from server.signals import no_signals
from server.timeout import within

__all__ = ["NotTakenError", "WorkerDiedError", "WorkerProcess"]

START_SECONDS = 30.0
HEAD_BYTES = 16 * 1024  # of an answer's JSON
SOCKET_BYTES = 1024 * 1024  # most calls' audio fits, and is then sent without waiting


class WorkerDiedError(Exception):
    """The process that decoded this audio ended, or answered nonsense and was ended."""


class NotTakenError(Exception):
    """The process had ended before it was given the job; another can do it."""


class WorkerProcess:
    """One process. ``jobs`` counts those given to it; it can take the next while ``is_idle``."""

    def __init__(self, process: asyncio.subprocess.Process, connection: socket.socket) -> None:
        self.jobs = 0
        self.pid = process.pid
        self._is_killed = False
        self._is_in_step = True  # the last answer was read to its end
        self._is_at_rest = asyncio.Event()  # nobody is using the connection
        self._is_at_rest.set()
        self._process = process
        self._connection = connection
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def start(cls, limits: AudioLimits) -> WorkerProcess:
        """A process that is ready for its first job.

        Raises:
            WorkerDiedError: it did not start; it has written why to stderr.
        """
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        ours.setblocking(False)
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            with no_signals():  # until it ignores them; no other start begins before it has forked
                starting = asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "server.audio.worker"),
                    *(str(theirs.fileno()), json.dumps(asdict(limits))),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env=_environment(),
                )
                process = cls(await starting, ours)
            undo.pop_all()
        try:
            theirs.close()  # else its end would go unnoticed
            ready, _ = await within(START_SECONDS, process._read_head())
            if ready != READY:
                raise WorkerDiedError("it does not say that it is ready")
        except (asyncio.TimeoutError, EOFError, OSError) as error:
            await process.stop()
            raise WorkerDiedError(f"it does not start: {type(error).__name__}") from None
        except BaseException:
            await process.stop()
            raise
        return process

    @property
    def is_idle(self) -> bool:
        """Whether it can take a job."""
        return self._is_in_step and self._is_at_rest.is_set() and not self._is_killed

    async def decode(
        self, job: AudioJob, audio: memoryview, limits: AudioLimits
    ) -> tuple[Waveform, float]:
        """See ``AudioWorkers.decode``. Must not be cancelled: the next job would read its rest.

        Raises:
            AudioError: as the process says.
            NotTakenError: it had ended before.
            WorkerDiedError: it ended now, or what it answers is impossible.
        """
        self._is_in_step = False
        self._is_at_rest.clear()
        try:
            result = await self._exchange(job, audio, limits)
            self._is_in_step = True
            return result
        except AudioError:
            self._is_in_step = True
            raise
        except (OSError, EOFError):
            raise WorkerDiedError("an audio worker ended during its job") from None
        finally:
            self._is_at_rest.set()

    async def wait(self) -> int:
        """Wait until it has ended; returns its exit status, below 0 for a signal."""
        return await self._process.wait()

    def kill(self) -> None:
        """End it at once: it keeps nothing."""
        self._is_killed = True
        if self._process.returncode is None:
            # Process.kill may reap a process that has just ended, whose status asyncio then misses.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """End it and wait for it."""
        self.kill()
        await self.wait()
        await self._is_at_rest.wait()  # who reads from a closed connection is never told
        self._connection.close()

    async def _exchange(
        self, job: AudioJob, audio: memoryview, limits: AudioLimits
    ) -> tuple[Waveform, float]:
        opening = pack(vars(job), audio.nbytes)
        try:
            # Both in one go, so that the process wakes once, and mostly that is all.
            sent = self._connection.sendmsg([opening, audio])
        except BlockingIOError:
            sent = 0
        except OSError:
            raise NotTakenError from None
        self.jobs += 1
        await self._loop.sock_sendall(self._connection, opening[sent:])
        await self._loop.sock_sendall(self._connection, audio[max(sent - len(opening), 0) :])
        head, size = await self._read_head()
        frames, seconds = _check_answer(head, size, job.target_rate, limits)
        return Waveform(await self._read_samples(frames), job.target_rate), seconds

    async def _read_head(self) -> tuple[dict[str, Any], int]:
        """The JSON of the next frame and the number of bytes that follow it."""
        head_bytes, size = FRAME.unpack(await self._read(FRAME.size))
        if not 0 < head_bytes <= HEAD_BYTES:
            raise WorkerDiedError(f"an audio worker answers in {head_bytes} bytes")
        try:
            head = json.loads(await self._read(head_bytes))
        except (ValueError, RecursionError):
            head = None
        if not isinstance(head, dict):
            raise WorkerDiedError("an audio worker does not answer in JSON")
        return head, size

    async def _read(self, count: int) -> bytearray:
        data = bytearray(count)
        await self._read_into(memoryview(data))
        return data

    async def _read_samples(self, frames: int) -> NDArray[np.float32]:
        samples = np.empty(frames, np.float32)
        await self._read_into(samples.view(np.uint8).data)
        if not np.isfinite(samples).all():
            raise WorkerDiedError("an audio worker answers with samples that are no numbers")
        return samples

    async def _read_into(self, space: memoryview) -> None:
        while space:
            count = await self._loop.sock_recv_into(self._connection, space)
            if not count:
                raise EOFError
            space = space[count:]


def _check_answer(
    head: dict[str, Any], size: int, rate: int, limits: AudioLimits
) -> tuple[int, float]:
    """Frames and seconds of the answer, before memory is taken for it; raises what it reports."""
    what, remedy = head.get("what"), head.get("remedy")
    if isinstance(what, str) and isinstance(remedy, str | None) and size == 0:
        raise AudioError(what, remedy=remedy)
    if "defect" in head:
        raise WorkerDiedError(f"an audio worker failed: {str(head['defect'])!r}")
    frames, seconds = head.get("frames"), head.get("seconds")
    if (
        type(frames) is not int
        or type(seconds) is not float
        or not 0 < seconds <= limits.max_seconds
        or abs(frames - seconds * rate) > 1  # soxr rounds
        or frames < 0
        or size != 4 * frames
    ):
        raise WorkerDiedError("an audio worker gives an impossible answer")
    return frames, seconds


def _environment() -> dict[str, str]:
    """The least with which the process finds the modules that we have."""
    root = str(Path(__file__).resolve().parents[1])
    path = [entry or os.getcwd() for entry in sys.path]
    if root not in path:
        path.insert(0, root)
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",  # its threads would each reserve address space
    }
