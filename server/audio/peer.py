"""The server's side of a process that decodes audio: start it, read what it says, distrust it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from asr.types import AudioError
from server.audio.worker import FRAME, READY
from server.signals import no_signals
from server.timeout import within

__all__ = ["Peer", "WorkerDiedError", "decoding_part", "raise_told"]

START_SECONDS = 30.0
HEAD_BYTES = 16 * 1024  # of an answer's JSON
SOCKET_BYTES = 1024 * 1024  # most calls' audio fits, and is then sent without waiting

P = TypeVar("P", bound="Peer")


class WorkerDiedError(Exception):
    """The process that decoded this audio ended, or answered nonsense and was ended."""


class Peer:
    """One process and the connection to it."""

    def __init__(self, process: asyncio.subprocess.Process, connection: socket.socket) -> None:
        self.pid = process.pid
        self._is_killed = False
        self._process = process
        self._connection = connection
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def run(
        cls: type[P], module: str, arguments: Sequence[str], files: Sequence[int] = ()
    ) -> P:
        """A process of the program ``module`` that has said that it is ready.

        Args:
            module: its name.
            arguments: behind the first, which is the descriptor of its end of the connection.
            files: descriptors that it has as well, by the same numbers.

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
                    *(sys.executable, "-m", module, str(theirs.fileno()), *arguments),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), *files),
                    env=_environment(),
                )
                peer = cls(await starting, ours)
            undo.pop_all()
        try:
            theirs.close()  # else its end would go unnoticed
            ready, _ = await within(START_SECONDS, peer._read_head())
            if ready != READY:
                raise WorkerDiedError("it does not say that it is ready")
        except (asyncio.TimeoutError, EOFError, OSError) as error:
            await peer.stop()
            raise WorkerDiedError(f"it does not start: {type(error).__name__}") from None
        except BaseException:
            await peer.stop()
            raise
        return peer

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
        """End it and wait for it. Nobody may be reading from it."""
        self.kill()
        await self.wait()
        self._connection.close()

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

    async def _read_block(self, head: dict[str, Any], size: int, most: int) -> NDArray[np.float32]:
        """The samples ``(N,)`` of a frame with ``head``, at most so many."""
        count = head.get("frames")
        if type(count) is not int or not 0 < count <= most or size != 4 * count:
            raise WorkerDiedError("an audio worker gives an impossible answer")
        return await self._read_samples(count)

    async def _read_into(self, space: memoryview) -> None:
        while space:
            count = await self._loop.sock_recv_into(self._connection, space)
            if not count:
                raise EOFError
            space = space[count:]


@contextlib.contextmanager
def decoding_part(seconds: float, remedy: str) -> Iterator[None]:
    """Say what it means that a part of the audio has not come within ``seconds``, or nothing.

    Raises:
        AudioError: it was waited for as long.
        WorkerDiedError: the connection has ended.
    """
    try:
        yield
    except asyncio.TimeoutError:
        raise AudioError(
            f"a part of the audio takes more than {seconds:g} s to decode", remedy=remedy
        ) from None
    except (OSError, EOFError):
        raise WorkerDiedError("an audio worker ended during its job") from None


def raise_told(head: dict[str, Any], size: int) -> None:
    """Raise the error that an answer reports, if it does."""
    what, remedy = head.get("what"), head.get("remedy")
    if isinstance(what, str) and isinstance(remedy, str | None) and size == 0:
        raise AudioError(what, remedy=remedy)
    if "defect" in head:
        raise WorkerDiedError(f"an audio worker failed: {str(head['defect'])!r}")


def _environment() -> dict[str, str]:
    """The least with which the process finds the modules that we have."""
    root = str(Path(__file__).resolve().parents[2])
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
