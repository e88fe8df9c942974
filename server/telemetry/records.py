"""What is known of one call: filled in along its way, then given to log, metrics and traces."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, NoReturn, get_args

import grpc

from server.limits import REQUEST_ID_CHARACTERS

__all__ = [
    "CAUSES",
    "STAGES",
    "CallRecord",
    "Cause",
    "Interval",
    "Stage",
    "current_record",
    "refuse",
    "request_id_of",
]

# Waiting for a place; reading and decoding the audio; waiting for a batch; the network; the search.
Stage = Literal["admission", "audio", "batch", "model", "search"]
STAGES: tuple[Stage, ...] = get_args(Stage)

# Why a call was not answered as it was meant.
Cause = Literal[
    "",
    "full",  # no free place
    "memory",  # the process is above its mark
    "draining",  # the server is stopping
    "loading",  # there is no model yet
    "audio",  # cannot be used, or is beyond the limits
    "options",  # cannot be used, or do not fit together
    "model",  # none of that name
    "message",  # the bytes are not a message of the method
    "method",  # none of that name
    "token",  # missing or wrong
    "idle",  # the upload was too slow
    "deadline",  # of the client
    "cancelled",  # by the client, or by the end of the grace time
    "defect",  # ours
]
CAUSES: tuple[Cause, ...] = get_args(Cause)

REQUEST_ID = re.compile(rf"[A-Za-z0-9._:-]{{1,{REQUEST_ID_CHARACTERS}}}")


class Interval(NamedTuple):
    """A stage of a call; ``start`` is in seconds after the call's own."""

    stage: Stage
    start: float
    seconds: float


@dataclass
class CallRecord:
    """One call. It holds no audio, no text, no token and, but for ids, nothing a client chose.

    ``method`` is written ``package.Service/Method``. ``model`` is empty or the name of a model that
    the server has. ``started`` is the wall clock in seconds since 1970; all durations are of a
    clock that nobody sets. ``traceparent`` is the client's, in the form of W3C Trace Context.
    """

    method: str
    request_id: str
    model: str = ""
    decoder: str = ""
    code: grpc.StatusCode = grpc.StatusCode.OK
    cause: Cause = ""
    audio_seconds: float = 0.0
    audio_bytes: int = 0
    batch_size: int = 0
    stages: dict[Stage, float] = field(default_factory=dict)
    intervals: list[Interval] = field(default_factory=list)
    traceparent: str = ""
    started: float = field(default_factory=time.time)
    total_seconds: float = 0.0
    _clock: float = field(default_factory=time.perf_counter, repr=False)

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """``with record.stage("audio"):`` adds the time spent inside, errors or not."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.spent(name, time.perf_counter() - begin)

    @contextmanager
    def summed(self) -> Iterator[None]:
        """A stage that comes again and again inside is one interval, of all its time."""
        before = len(self.intervals)
        try:
            yield
        finally:
            parts, self.intervals = self.intervals[before:], self.intervals[:before]
            sums: dict[Stage, Interval] = {}
            for stage, start, seconds in parts:
                first = sums.get(stage, Interval(stage, start, 0.0))
                sums[stage] = first._replace(seconds=first.seconds + seconds)
            self.intervals += sums.values()

    def spent(self, name: Stage, seconds: float) -> None:
        """Add ``seconds`` to a stage that ends now. A stage may come more than once."""
        if name not in STAGES:
            raise ValueError(f"no stage is called {name}")
        self.stages[name] = self.stages.get(name, 0.0) + seconds
        start = time.perf_counter() - self._clock - seconds
        self.intervals.append(Interval(name, max(start, 0.0), seconds))

    def finish(self) -> None:
        """The call is over: ``total_seconds`` is known."""
        self.total_seconds = time.perf_counter() - self._clock


CURRENT: ContextVar[CallRecord | None] = ContextVar("record of the call", default=None)


def current_record() -> CallRecord | None:
    """The record of the call that this code runs for, if calls are being recorded."""
    return CURRENT.get()


async def refuse(
    context: Any,
    code: grpc.StatusCode,
    cause: Cause,
    message: str,
    trailing_metadata: tuple[tuple[str, str], ...] = (),
) -> NoReturn:
    """End the call with a status, and note why in its record."""
    record = current_record()
    if record is not None:
        record.cause = cause
    await context.abort(code, message, trailing_metadata)
    raise AssertionError("abort does not return")


def request_id_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The client's ``x-request-id`` if it is as ``proto/asr/v1`` says, or else a new one."""
    given = metadata_value(metadata, "x-request-id")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def metadata_value(metadata: Iterable[tuple[str, str | bytes]], key: str) -> str:
    """The value of a key that is there once, as text; else the empty string."""
    found = [value for name, value in metadata if name == key]
    return found[0] if len(found) == 1 and isinstance(found[0], str) else ""
