"""Many files, some of them at the same time, their outcomes in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor

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
    pool = ThreadPoolExecutor(parallel)
    try:
        futures = [pool.submit(outcome_of, source) for source in sources]
        reason = ""
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
        pool.shutdown(wait=False, cancel_futures=True)


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
