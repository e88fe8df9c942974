"""Where the results of many sources go: a stream, one file, or a folder with a file for each."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from asr.cli.writers import Result, ResultWriter
from asr.files.find import Source
from asr.files.write import PARTIAL, Guard, replace_text, write_text
from asr.types import AsrError, ConfigError

__all__ = ["Write", "inputs_of", "open_results"]

# Arguments of commands that name what is read, beside recordings and their folders.
INPUTS = (
    *("bundle", "file", "texts", "model", "pairs", "segments", "tokens"),
    *("lm", "lexicon", "vocab", "phrases", "graph"),
)

# Takes the index of a source, and its results, or the next of them.
Write = Callable[[int, Sequence[Result]], None]


class _NoResultError(Exception):
    """Nothing came of any source, and an older result stands there."""


def inputs_of(options: argparse.Namespace) -> list[str | None]:
    """What a command line says to read, recordings in folders aside."""
    inputs: list[str | None] = []
    for name in INPUTS:
        value = getattr(options, name, None)
        inputs += value if isinstance(value, list) else [value]
    return inputs


@contextmanager
def open_results(
    kind: type[ResultWriter],
    sources: Sequence[Source],
    output: str | None,
    inputs: Iterable[str | None] = (),
) -> Iterator[Write]:
    """A function that writes results, to be called in the order of ``sources``.

    ``output`` is a file, or a folder where the format wants a file for each of several sources;
    None: standard output. A file is there when the context ends, and an older one is kept if no
    source has a result. ``inputs`` are what is read beside the sources.

    Raises:
        ConfigError: there is no place for the results, or an input is.
        OSError: they cannot be written.
    """
    guard = Guard([*(source.path for source in sources), *inputs])
    if kind.of_one and len(sources) > 1:
        yield _folder_writer(kind, sources, output, guard)
    elif output is None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        yield _stream_writer(kind(sources), sources, sys.stdout, "standard output")[0]
    else:
        with _file_writer(kind(sources), sources, output, guard) as write:
            yield write


@contextmanager
def _file_writer(
    writer: ResultWriter, sources: Sequence[Source], output: str, guard: Guard
) -> Iterator[Write]:
    if Path(output).is_dir():
        raise ConfigError("this is a folder", where=output, remedy="give --output a file name")
    for name in (output, f"{output}{PARTIAL}"):
        guard.check(name)
    with suppress(_NoResultError), replace_text(output) as stream:
        write, done = _stream_writer(writer, sources, stream, output)
        yield write
        if not done() and Path(output).is_file():
            raise _NoResultError


def _stream_writer(
    writer: ResultWriter, sources: Sequence[Source], stream: TextIO, name: str
) -> tuple[Write, Callable[[], bool]]:
    """The function, and another that tells whether it was ever given more than failures."""
    successes = 0

    def write(index: int, results: Sequence[Result]) -> None:
        nonlocal successes
        successes += sum(not isinstance(result.outcome, AsrError) for result in results)
        try:
            print(writer.render(sources[index], results), end="", file=stream, flush=True)
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from None

    return write, lambda: successes > 0


def _folder_writer(
    kind: type[ResultWriter], sources: Sequence[Source], output: str | None, guard: Guard
) -> Write:
    if output is None:
        raise ConfigError(
            f"{kind.suffix} of several files does not fit into one stream",
            remedy="give --output FOLDER, or one file at a time",
        )
    names = [f"{source.name}.{kind.suffix}" for source in sources]
    [(twice, times)] = Counter(names).most_common(1)
    if times > 1:
        raise ConfigError(f"two files would both write {twice}", remedy="do one after the other")
    paths = [Path(output, name) for name in names]
    for path in paths:
        guard.check(path)
    if Path(output).exists() and not Path(output).is_dir():
        raise ConfigError("this is no folder", where=output, remedy="give --output a folder")
    os.makedirs(output, exist_ok=True)

    def write(index: int, results: Sequence[Result]) -> None:
        text = kind([sources[index]]).render(sources[index], results)
        if text or not all(isinstance(result.outcome, AsrError) for result in results):
            paths[index].parent.mkdir(parents=True, exist_ok=True)
            write_text(paths[index], text)

    return write
