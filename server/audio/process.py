"""The server's side of one audio worker: hand it a job, distrust its answer."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import asdict
from typing import Any

from asr.audio import AudioLimits
from asr.types import AudioError, Waveform
from server.audio.peer import Peer, WorkerDiedError, raise_told
from server.audio.worker import AudioJob, Decoded, pack

__all__ = ["LongAudioError", "NotTakenError", "WorkerDiedError", "WorkerProcess"]


class NotTakenError(Exception):
    """The process had ended before it was given the job; another can do it."""


class LongAudioError(Exception):
    """The audio is too long, or too large, to be decoded at once: read it by blocks."""


class WorkerProcess(Peer):
    """One process. ``jobs`` counts those given to it; it can take the next while ``is_idle``."""

    def __init__(self, process: asyncio.subprocess.Process, connection: socket.socket) -> None:
        super().__init__(process, connection)
        self.jobs = 0
        self._is_in_step = True  # the last answer was read to its end
        self._is_at_rest = asyncio.Event()  # nobody is using the connection
        self._is_at_rest.set()

    @classmethod
    async def start(cls, limits: AudioLimits) -> WorkerProcess:
        """A process that is ready for its first job.

        Raises:
            WorkerDiedError: it did not start; it has written why to stderr.
        """
        return await cls.run("server.audio.worker", [json.dumps(asdict(limits))])

    @property
    def is_idle(self) -> bool:
        """Whether it can take a job."""
        return self._is_in_step and self._is_at_rest.is_set() and not self._is_killed

    async def decode(self, job: AudioJob, audio: memoryview, limits: AudioLimits) -> Decoded:
        """See ``AudioWorkers.decode``. Must not be cancelled: the next job would read its rest.

        Raises:
            AudioError, LongAudioError: as the process says.
            NotTakenError: it had ended before.
            WorkerDiedError: it ended now, or what it answers is impossible.
        """
        self._is_in_step = False
        self._is_at_rest.clear()
        try:
            result = await self._exchange(job, audio, limits)
            self._is_in_step = True
            return result
        except (AudioError, LongAudioError):
            self._is_in_step = True
            raise
        except (OSError, EOFError):
            raise WorkerDiedError("an audio worker ended during its job") from None
        finally:
            self._is_at_rest.set()

    async def stop(self) -> None:
        """End it and wait for it."""
        self.kill()
        await self.wait()
        await self._is_at_rest.wait()  # who reads from a closed connection is never told
        await super().stop()

    async def _exchange(self, job: AudioJob, audio: memoryview, limits: AudioLimits) -> Decoded:
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
        frames, seconds, channels = _check_answer(head, size, job, limits)
        waveform = Waveform(await self._read_samples(frames), job.target_rate)
        return Decoded(waveform, seconds, channels)


def _check_answer(
    head: dict[str, Any], size: int, job: AudioJob, limits: AudioLimits
) -> tuple[int, float, int]:
    """Frames, seconds and channels of an answer before memory is taken; raises what it reports."""
    raise_told(head, size)
    if head.get("long") is True and size == 0:
        raise LongAudioError
    frames, seconds, channels = head.get("frames"), head.get("seconds"), head.get("channels", 0)
    if (
        type(frames) is not int
        or type(seconds) is not float
        or not 0 < seconds <= limits.max_seconds
        or abs(frames - seconds * job.target_rate) > 1  # soxr rounds
        or frames < 0
        or size != 4 * frames
        or type(channels) is not int
        or not int(job.counts) <= channels <= limits.max_channels
    ):
        raise WorkerDiedError("an audio worker gives an impossible answer")
    return frames, seconds, channels
