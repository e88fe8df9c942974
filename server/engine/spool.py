"""The bytes of one upload: in memory, and from a size on in a file without a name."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from contextlib import suppress
from typing import BinaryIO

import grpc

from server.errors import Refusal
from server.limits import WHOLE_BYTES

__all__ = ["Spool"]

log = logging.getLogger(__name__)


class Spool:
    """Takes bytes; up to ``most`` of them stay in memory. It is to be closed.

    The file is in the system's folder for temporary files, and gone when it is closed.
    """

    def __init__(self, data: bytes | bytearray = b"", most: int = WHOLE_BYTES) -> None:
        self._data: bytes | bytearray | None = data
        self._most = most
        self._file: BinaryIO | None = None
        self._count = len(data)

    def __len__(self) -> int:
        return self._count

    @property
    def data(self) -> bytes | bytearray | None:
        """All bytes; None where they are in a file."""
        return self._data

    async def add(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            Refusal: there is no room on the disk.
        """
        self._count += len(piece)
        if self._data is None:
            await self._write(piece)
            return
        if not isinstance(self._data, bytearray):
            self._data = bytearray(self._data)
        self._data += piece
        if self._count > self._most:
            await self.file()

    async def file(self) -> int:
        """The descriptor of a file that holds all bytes, and is this object's.

        Raises:
            Refusal: there is no room on the disk.
        """
        if self._data is not None:
            data = self._data
            await self._write(data)
            self._data = None
        assert self._file is not None
        try:
            await asyncio.to_thread(self._file.flush)
        except OSError as error:
            raise _no_room(error) from None
        return self._file.fileno()

    def close(self) -> None:
        """Let go of all bytes."""
        self._data = None
        if self._file is not None:
            with suppress(OSError):  # what it still holds back finds no room, and is not needed
                self._file.close()

    async def _write(self, data: bytes | bytearray) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  # close() closes it
            await asyncio.to_thread(self._file.write, data)
        except OSError as error:
            raise _no_room(error) from None


def _no_room(error: OSError) -> Refusal:
    log.error("an upload cannot be kept in %s: %s", tempfile.gettempdir(), error)
    return Refusal(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "memory",
        "the server has no room for so much audio; try again later",
        retry=True,
    )
