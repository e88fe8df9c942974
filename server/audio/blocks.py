"""The server's side of a process that decodes one long recording."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioLimits
from server.audio.peer import Peer, WorkerDiedError, decoding_part, raise_told
from server.audio.reader import BLOCK_FRAMES
from server.audio.worker import AudioJob
from server.limits import MAX_CHANNELS
from server.timeout import within

__all__ = ["BlockReader"]

MOST_LINKS = 1_000  # recordings that are joined, of each of which soxr rounds the length


class BlockReader(Peer):
    """A process that decodes one recording, at ``rate``, as far as its blocks are asked for.

    ``seconds`` of the audio at its own rate, and its ``channels``, are known when all blocks have
    come.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, connection: socket.socket, rate: int = 0
    ) -> None:
        super().__init__(process, connection)
        self.seconds = math.nan
        self.channels = 0
        self._rate = rate

    @classmethod
    async def start(cls, job: AudioJob, file: int, limits: AudioLimits) -> BlockReader:
        """A process that is ready to decode the open ``file``.

        Raises:
            WorkerDiedError: it did not start; it has written why to stderr.
        """
        arguments = [str(file), json.dumps(vars(job)), json.dumps(asdict(limits))]
        reader = await cls.run("server.audio.reader", arguments, [file])
        reader._rate = job.target_rate
        return reader

    async def blocks(self, seconds_per_block: float) -> AsyncIterator[NDArray[np.float32]]:
        """All blocks ``(N,)`` in their order, once.

        Raises:
            AudioError: the audio is not what the job says, not usable, or a block of it takes
                longer than ``seconds_per_block``.
            WorkerDiedError: the process ended, or what it says is impossible.
        """
        frames = 0
        while True:
            with decoding_part(seconds_per_block, "cut it into shorter pieces"):
                block = await within(seconds_per_block, self._next_block(frames))
            if block is None:
                return
            frames += len(block)
            yield block

    async def _next_block(self, frames: int) -> NDArray[np.float32] | None:
        """The block after ``frames``; None at the end."""
        head, size = await self._read_head()
        raise_told(head, size)
        if "seconds" in head and size == 0:
            self.seconds = _checked_seconds(head["seconds"], frames, self._rate)
            self.channels = _checked_channels(head.get("channels"))
            return None
        return await self._read_block(head, size, BLOCK_FRAMES)


def _checked_seconds(seconds: Any, frames: int, rate: int) -> float:
    if (
        type(seconds) is not float
        or not 0 < seconds < math.inf
        or abs(frames - seconds * rate) > MOST_LINKS
    ):
        raise WorkerDiedError("an audio worker gives an impossible answer")
    return seconds


def _checked_channels(channels: Any) -> int:
    if type(channels) is not int or not 0 < channels <= MAX_CHANNELS:
        raise WorkerDiedError("an audio worker gives an impossible answer")
    return channels
