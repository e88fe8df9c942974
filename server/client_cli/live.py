"""Live streams of the command: their audio, and text that grows where a person sees it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from asr.cli.results import Write
from asr.cli.writers import Result
from asr.files.find import Source
from asr.files.read import STDIN
from asr.types import Hypothesis, Transcript
from server.client import (
    Client,
    ClientError,
    LiveResult,
    RecognitionConfig,
    StreamingRecognitionConfig,
)
from server.client_cli.batch import SkippedError, is_fatal
from server.client_cli.output import result_of
from server.client_cli.standard_input import standard_input

if TYPE_CHECKING:
    from rich.live import Live

__all__ = ["Partials", "Pieces", "live_config", "stream_files", "tell"]

HEAD_BYTES = 12  # which tell a container
PIECE_BYTES = 8 * 1024
SILENCE = Result(Transcript((Hypothesis("", 0.0, 1.0),), 0.0), 0.0, 0.0)  # nothing was said
# How files begin that are decoded while they come, if they are named.
MARKS = {b"RIFF": "WAV", b"RF64": "WAV", b"OggS": "OGG", b"\x1aE\xdf\xa3": "WEBM"}


class Pieces(Iterable[bytes]):
    """The bytes of a file, or of standard input, in pieces; ``head`` is the first of them.

    Raises:
        ClientError: it cannot be read; also while iterating.
    """

    def __init__(self, path: str) -> None:
        self._is_reading = False
        with _readable():
            # Without a buffer: at the end nobody waits for one that another thread holds.
            self._file = standard_input() if path == STDIN else open(path, "rb", buffering=0)  # noqa: SIM115
        self.head = self._read()
        while len(self.head) < HEAD_BYTES and (piece := self._read()):
            self.head += piece

    def __enter__(self) -> Pieces:
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._is_reading:
            self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        piece = self.head
        while piece:
            yield piece
            piece = self._read()

    def _read(self) -> bytes:
        self._is_reading = True
        try:
            with _readable():
                return self._file.read(PIECE_BYTES)
        finally:
            self._is_reading = False


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ClientError(f"the file cannot be read: {error.strerror or error}") from None


def stream_files(
    client: Client,
    sources: Sequence[Source],
    configure: Callable[[bytes], StreamingRecognitionConfig],
    write: Write,
    *,
    at_once: bool,
) -> list[ClientError | None]:
    """Send files one after the other, as if they were spoken now; what became of each.

    Args:
        configure: makes the configuration of a file that begins with these bytes.
        write: is given each segment's result, or ``at_once`` those of a file, or its error.
    """
    outcomes: list[ClientError | None] = []
    reason: ClientError | None = None
    for index, source in enumerate(sources):
        if reason is not None:
            outcomes.append(SkippedError(f"not tried: {reason}"))
        else:
            outcomes.append(_stream_file(client, source, configure, partial(write, index), at_once))
        error = outcomes[-1]
        if error is not None:
            write(index, [result_of(error)])
            reason = error if reason is None and is_fatal(error) else reason
    return outcomes


def _stream_file(
    client: Client,
    source: Source,
    configure: Callable[[bytes], StreamingRecognitionConfig],
    write: Callable[[Sequence[Result]], None],
    at_once: bool,
) -> ClientError | None:
    results: list[Result] = []
    try:
        with Pieces(source.path) as pieces:
            for result in tell(client.live(pieces, configure(pieces.head))):
                results.append(result)
                if not at_once:
                    write([result])
    except ClientError as error:
        return error
    if at_once or not results:
        write(results or [SILENCE])
    return None


def live_config(
    config: RecognitionConfig, options: argparse.Namespace, head: bytes = b""
) -> StreamingRecognitionConfig:
    """What the command's options ask of a live stream whose audio begins with ``head``.

    Its container is named, where it is one that the server need not wait for the end of.
    """
    found = MARKS.get(head[:4])
    if options.encoding is None and found and (found != "WAV" or head[8:12] == b"WAVE"):
        config.encoding = RecognitionConfig(encoding=f"AUDIO_ENCODING_{found}").encoding
    live = StreamingRecognitionConfig(
        config=config,
        interim_results=_is_terminal(),
        single_utterance=options.single_utterance,
    )
    if options.look_ahead is not None:
        live.look_ahead.FromNanoseconds(round(1e9 * options.look_ahead))
    return live


def tell(results: Iterable[LiveResult]) -> Iterator[Result]:
    """The final ones of ``results``; the others are shown on a terminal until they are final."""
    with Partials() as partials:
        for result in results:
            partials.show("" if result.is_final else result.text)
            if result.is_final and result.text:
                yield result_of(result)


class Partials:
    """Text in one place of a terminal, on standard error; nothing where there is no terminal."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def __enter__(self) -> Partials:
        return self

    def __exit__(self, *exception: object) -> None:
        self.show("")

    def show(self, text: str) -> None:
        """Put ``text`` in the place of the last one; an empty one leaves the terminal as it was."""
        if not _is_terminal():
            return
        if not text:
            if self._live is not None:
                self._live.stop()
            self._live = None
            return
        from rich.text import Text  # it takes a while, and only here is it needed

        if self._live is None:
            self._live = _begin()
        self._live.update(Text(text, style="dim"), refresh=True)


def _begin() -> Live:
    from rich.console import Console
    from rich.live import Live

    # What is too long for the terminal shows its end; nothing is drawn but what is told to be.
    live = Live(
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    live.start()
    return live


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
