"""What the commands share: where results go, a progress bar, and complaints in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TextIO

from asr.types import ConfigError

__all__ = ["FAILURE", "complain", "one_line", "open_output", "progress"]

FAILURE = 2  # as argparse
Hidden = Callable[[], AbstractContextManager[None]]


@contextmanager
def open_output(output: str | None) -> Iterator[TextIO | None]:
    """The file to write, or None for stdout."""
    if output is None:
        yield None
        return
    if Path(output).is_dir():
        raise ConfigError("this is a folder", where=output, remedy="give --output a file name")
    with open(output, "w", encoding="utf-8") as stream:
        yield stream


@contextmanager
def progress(total: int, doing: str) -> Iterator[tuple[Callable[[int], None], Hidden]]:
    """A bar on stderr if that is a terminal; gives a function that advances it, and a context in
    which it is not shown, so that lines may be written."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

    bar = Progress(
        *Progress.get_default_columns(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
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


def complain(message: str) -> None:
    """Say on stderr, in one line, what went wrong."""
    print(f"asr: error: {one_line(message)}", file=sys.stderr, flush=True)


def one_line(message: object) -> str:
    """The message with its line breaks, if it has any, as spaces."""
    return " ".join(str(message).split())
