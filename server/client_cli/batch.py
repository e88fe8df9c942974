"""Many files, some of them at the same time, their outcomes in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future

import grpc

from asr.files.find import Source
from server.client import ClientError, Transcription

__all__ = ["SkippedError", "is_fatal", "transcribe_all"]

Outcome = Transcription | ClientError

# After these the next file would fare no better.
FATAL = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
)


class SkippedError(ClientError):
    """The file was not tried, because another one's failure would repeat itself."""


def transcribe_all(
    transcribe: Callable[[Source], Transcription], sources: Sequence[Source], parallel: int
) -> Iterator[Outcome]:
    """The outcomes of ``sources`` in their order, ``parallel`` of them being made at once.

    One failure does not lose the others, unless it is one that all would share: then those that
    were not begun are skipped.
    """

    def outcome_of(source: Source) -> Outcome:
        try:
            return transcribe(source)
        except ClientError as error:
            return error

    if parallel == 1:
        yield from _one_by_one(outcome_of, sources)
        return
    futures: list[Future[Outcome]] = [Future() for _ in sources]
    todo = iter(list(zip(futures, sources, strict=True)))
    turn = threading.Lock()
    for _ in range(parallel):
        # The interpreter waits for no daemon, so that an interruption ends a command whose
        # threads wait for what does not come.
        threading.Thread(target=_work, args=(todo, turn, outcome_of), daemon=True).start()
    reason = ""
    try:
        for future in futures:
            try:
                outcome = future.result()
            except CancelledError:
                outcome = SkippedError(f"not tried: {reason}")
            if is_fatal(outcome) and not reason:
                reason = str(outcome)
                for other in futures:
                    other.cancel()
            yield outcome
    finally:
        for future in futures:
            future.cancel()


def _work(
    todo: Iterator[tuple[Future[Outcome], Source]],
    turn: threading.Lock,
    outcome_of: Callable[[Source], Outcome],
) -> None:
    """Make one outcome after another, until none is left that another thread does not make."""
    while True:
        with turn:
            future, source = next(todo, (None, None))
        if future is None or source is None:
            return
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(outcome_of(source))
            except BaseException as error:
                future.set_exception(error)


def is_fatal(outcome: Outcome | None) -> bool:
    """True if the files after this one would fare no better."""
    return isinstance(outcome, ClientError) and outcome.code in FATAL


def _one_by_one(
    outcome_of: Callable[[Source], Outcome], sources: Sequence[Source]
) -> Iterator[Outcome]:
    reason = ""
    for source in sources:
        if reason:
            yield SkippedError(f"not tried: {reason}")
            continue
        outcome = outcome_of(source)
        if is_fatal(outcome):
            reason = str(outcome)
        yield outcome
