"""Which calls are taken in, and which of those may work now.

gRPC's own limit counts health checks too, so that a few watchers could starve the service. Here
only calls that transcribe need a place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from server.errors import Refusal
from server.resources import give_back, resident_bytes
from server.telemetry.records import Cause

__all__ = ["Admission", "Place"]

GIVE_BACK_SECONDS = 1.0  # it takes some milliseconds, so not for every call


class Admission:
    """At most ``running`` calls work at a time, and ``waiting`` more wait their turn in order.

    A call beyond these is refused at once: whoever waits without hope costs others their time. So
    is one that comes while the process holds more than ``memory_mark`` bytes (None: no mark), or
    after :meth:`close`. Uploads together hold at most ``upload_bytes``. A call that turns out to be
    a live stream gives its place to others and takes one of ``streams``: it may last for hours.
    """

    def __init__(
        self,
        running: int,
        waiting: int,
        *,
        upload_bytes: int,
        streams: int = 0,
        memory_mark: int | None = None,
        resident: Callable[[], int] = resident_bytes,
        give_back: Callable[[], None] = give_back,
    ) -> None:
        self._places = running + waiting
        self._turns = asyncio.Semaphore(running)
        self._upload_bytes = upload_bytes
        self._stream_places = streams
        self._memory_mark = memory_mark
        self._resident = resident
        self._give_back = give_back
        self._gave_back = -GIVE_BACK_SECONDS
        self._closed = False
        self._taken = self._working = self._streams = 0
        self._held = 0  # bytes

    @property
    def accepted(self) -> int:
        """Calls that have a place, live streams counted."""
        return self._taken + self._streams

    @property
    def streams(self) -> int:
        """Live streams."""
        return self._streams

    @property
    def working(self) -> int:
        """Calls that have their turn."""
        return self._working

    def close(self) -> None:
        """Refuse all further calls; those accepted go on."""
        self._closed = True

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place for one call, as long as the context lasts.

        Raises:
            Refusal: there is none.
        """
        self.check_room()
        self._taken += 1
        place = Place(self)
        try:
            yield place
        finally:
            if place.streams:
                self._streams -= place.streams
            else:
                self._taken -= 1
            self._held -= place.held
            place.rest()

    def check_room(self) -> None:
        """Whether a call would get a place now.

        Raises:
            Refusal: it would not.
        """
        if self._closed:
            raise Refusal(
                grpc.StatusCode.UNAVAILABLE,
                "draining",
                "the server is stopping; try again later, or another server",
            )
        if self._taken >= self._places:
            raise _exhausted("full", f"the server has {self._places} calls, as many as it takes")
        if self._is_short_of_memory():
            raise _exhausted("memory", "the server is short of memory")

    def _is_short_of_memory(self) -> bool:
        if self._memory_mark is None or self._resident() <= self._memory_mark:
            return False
        now = time.monotonic()
        if now - self._gave_back < GIVE_BACK_SECONDS:
            return True
        # What calls have freed may still be held, and would keep others out for ever.
        self._gave_back = now
        self._give_back()
        return self._resident() > self._memory_mark

    def hold(self, count: int) -> None:
        """Count ``count`` more bytes of uploads.

        Raises:
            Refusal: they are too many.
        """
        if self._held + count > self._upload_bytes:
            raise _exhausted("memory", "the server holds as much audio as it can")
        self._held += count

    def stream(self, count: int) -> None:
        """Count a call that was accepted as ``count`` live streams from now on.

        Raises:
            Refusal: there would be more than there may be.
        """
        if self._streams + count > self._stream_places:
            there = f"the server has {self._stream_places} live streams, as many as it takes"
            raise _exhausted("full", there)
        self._taken -= 1
        self._streams += count

    async def turn(self) -> None:
        """Wait to be one of those who work; first come, first served."""
        await self._turns.acquire()
        self._working += 1

    def rest(self) -> None:
        """Let another work in the place of one who does."""
        self._working -= 1
        self._turns.release()


class Place:
    """One accepted call's place."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.held = 0  # bytes
        self.has_turn = False
        self.streams = 0

    def hold(self, count: int) -> None:
        """Take room for ``count`` more bytes of this call's audio, until the place is given up.

        Raises:
            Refusal: there is no room.
        """
        self._admission.hold(count)
        self.held += count

    def stream(self, count: int = 1) -> None:
        """Exchange it for the places of ``count`` live streams, one at least.

        Raises:
            Refusal: there are none.
        """
        self._admission.stream(count)
        self.streams = count

    async def turn(self) -> None:
        """Wait for this call's turn to work; it lasts until it rests, or its place is given up."""
        await self._admission.turn()
        self.has_turn = True

    def rest(self) -> None:
        """Give the turn to others, if this call has it: it goes on by other means."""
        if self.has_turn:
            self.has_turn = False
            self._admission.rest()


def _exhausted(cause: Cause, message: str) -> Refusal:
    return Refusal(
        grpc.StatusCode.RESOURCE_EXHAUSTED, cause, f"{message}; try again later", retry=True
    )
