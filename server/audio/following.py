"""The server's side of a process that decodes one recording while it comes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioLimits
from server.audio.peer import Peer, decoding_part, raise_told
from server.audio.reader import BLOCK_FRAMES
from server.audio.worker import AudioJob, pack
from server.timeout import within

__all__ = ["PIECE_BYTES", "Follower"]

PIECE_BYTES = 64 * 1024  # at most in one piece: it lies in the connection before it is read


class Follower(Peer):
    """A process that is given a recording in pieces and answers each with its samples."""

    _seconds = 0.0  # that it may take for a block

    @classmethod
    async def start(cls, job: AudioJob, limits: AudioLimits, seconds_per_block: float) -> Follower:
        """A process that waits for the first bytes.

        Raises:
            WorkerDiedError: it did not start; it has written why to stderr.
        """
        arguments = [json.dumps(vars(job)), json.dumps(asdict(limits))]
        follower = await cls.run("server.audio.follower", arguments)
        follower._seconds = seconds_per_block
        return follower

    async def push(self, data: bytes) -> AsyncIterator[NDArray[np.float32]]:
        """The blocks ``(N,)`` that the next bytes complete, to be read to their end.

        Raises:
            AudioError: the bytes are not what the job says, not usable, or a block of them takes
                too long.
            WorkerDiedError: the process ended, or what it says is impossible.
        """
        for start in range(0, len(data), PIECE_BYTES):
            async for block in self._exchange(data[start : start + PIECE_BYTES], "more"):
                yield block

    async def flush(self) -> AsyncIterator[NDArray[np.float32]]:
        """None: a decoder tells a packet when it has it, and keeps what it needs for the next."""
        return
        yield

    async def end(self) -> AsyncIterator[NDArray[np.float32]]:
        """The last blocks; no more bytes will come.

        Raises:
            AudioError, WorkerDiedError: see :meth:`push`.
        """
        async for block in self._exchange(b"", "done"):
            yield block

    async def _exchange(self, data: bytes, last: str) -> AsyncIterator[NDArray[np.float32]]:
        """What is answered to ``data``, up to the frame that says ``last``."""
        with decoding_part(self._seconds, "record it anew, with another encoder"):
            await within(self._seconds, self._loop.sock_sendall(self._connection, _piece(data)))
            while (block := await within(self._seconds, self._next_block(last))) is not None:
                yield block

    async def _next_block(self, last: str) -> NDArray[np.float32] | None:
        head, size = await self._read_head()
        raise_told(head, size)
        if head.get(last) is True and size == 0:
            return None
        return await self._read_block(head, size, BLOCK_FRAMES)


def _piece(data: bytes) -> bytes:
    return pack({}, len(data)) + data
