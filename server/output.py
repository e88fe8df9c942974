"""What a command prints: a closed pipe or a full disk is one line, and no traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO, TypeVar

__all__ = ["FAILURE", "check_output", "complain"]

FAILURE = 2  # as argparse

Status = TypeVar("Status")


def complain(program: str, message: object) -> None:
    """``message`` on one line of standard error, if that can be written."""
    with suppress(OSError):
        line = f"{program}: error: {' '.join(str(message).split())}"
        print(line, file=sys.stderr, flush=True)


def check_output(program: str, run: Callable[[], int]) -> int:
    """The status of ``run``, once all that it printed is written.

    Where that fails, the status is not 0, and there is one line; none where the reader has closed
    the pipe, for it has enough. Python itself would try at exit, complain in several lines, and end
    with 120.

    Raises:
        SystemExit: ``run`` did, as argparse does for ``--help``.
    """
    try:
        return _finish(program, run())
    except SystemExit as end:
        raise SystemExit(_finish(program, end.code)) from None


def _finish(program: str, status: Status) -> Status | int:
    failed = _flush(sys.stdout)
    if failed is not None and not status and not isinstance(failed, BrokenPipeError):
        complain(program, f"standard output cannot be written: {failed.strerror}")
    _flush(sys.stderr)
    return status if status or failed is None else FAILURE


def _flush(stream: TextIO | None) -> OSError | None:
    """The error, if what is left cannot be written; then it never is."""
    try:
        if stream is not None:
            stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)
        return error
    return None
