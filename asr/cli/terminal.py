"""What the commands share: how they end, a progress bar, and complaints in one line."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from asr.types import AsrError

__all__ = ["FAILURE", "INTERRUPTED", "complain", "one_line", "printable", "progress", "run_command"]

FAILURE = 2  # as argparse
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
Hidden = Callable[[], AbstractContextManager[None]]


def run_command(
    name: str,
    command: Callable[[], int],
    *,
    errors: tuple[type[Exception], ...] = (AsrError,),
    interrupted: str = "",
) -> int:
    """Run a command to its end; returns the exit status, that of ``command`` or:

    2: something failed, which is said on stderr in one line; nothing is said where the reader of
    the output (say, ``head``) has left. 130: interrupted, with the line ``interrupted``, if any.

    Args:
        name: what the line begins with, if anything.
        errors: what a user can mend, as exceptions whose text is such a line.

    Raises:
        SystemExit: of argparse.
    """
    _write_what_can_be_written()
    warnings = _Warnings(name)
    logging.getLogger("asr").addHandler(warnings)
    try:
        status = command()
        _flush()
        return status
    except errors as error:
        complain(str(error), name)
    except BrokenPipeError:
        pass
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}", name)
    except KeyboardInterrupt:
        if interrupted:
            print(interrupted, file=sys.stderr)
        return INTERRUPTED
    except SystemExit as end:
        return _ended(end, name)
    finally:
        logging.getLogger("asr").removeHandler(warnings)
        _drop_what_cannot_be_written()
    return FAILURE


class _Warnings(logging.Handler):
    """Says what the toolkit warns of as it says what went wrong."""

    def __init__(self, command: str) -> None:
        super().__init__(logging.WARNING)
        self._command = command

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage(), self._command, "warning")


def _write_what_can_be_written() -> None:
    """Replace characters that standard output's encoding lacks, so that the rest is written.

    Standard error does so by itself.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _flush() -> None:
    """Meet an error of standard output here, rather than when Python ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from None


def _ended(end: SystemExit, name: str) -> int:
    """Let argparse end the command, unless its help could not be written."""
    try:
        _flush()
    except BrokenPipeError:
        return FAILURE
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}", name)
        return FAILURE
    raise end


def _drop_what_cannot_be_written() -> None:
    """Else Python tries again when it ends, and complains in its own words."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def progress(total: int, doing: str) -> Iterator[tuple[Callable[[int], None], Hidden]]:
    """A bar on stderr if that is a terminal; gives a function that advances it, and a context in
    which it is not shown, so that lines may be written."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda count: None, nullcontext  # rich takes its time to load
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

    bar = Progress(
        *Progress.get_default_columns(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        # Passing through the bar's console, text would change: wrapped, and sent to stderr.
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    )

    @contextmanager
    def hidden() -> Iterator[None]:
        bar.stop()
        yield
        bar.start()

    with bar:
        task = bar.add_task(doing, total=total)
        yield lambda count: bar.advance(task, count), hidden


def complain(message: str, command: str = "asr", kind: str = "error") -> None:
    """Say on stderr, in one line, what went wrong. Where nobody listens, the exit status tells."""
    if sys.stderr is not None:
        beginning = f"{command}: " if command else ""
        with suppress(OSError):
            print(f"{beginning}{kind}: {one_line(message)}", file=sys.stderr, flush=True)


def one_line(message: object) -> str:
    """The message with its line breaks, if it has any, as spaces."""
    return " ".join(str(message).split())


def printable(name: str) -> str:
    """A file's name whose bytes, if they are not UTF-8, are replaced."""
    return name.encode("utf-8", "replace").decode()
