"""Files from a web server, in parts where the connection breaks."""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

from asr.types import CorpusError

__all__ = ["fetch"]

BLOCK = 1 << 20  # bytes
TIMEOUT = 60.0  # seconds without a byte
WAITS = (1.0, 5.0, 15.0, 30.0)  # seconds before each new try that follows one without progress
PARTIAL_CONTENT, NOT_THERE, NO_SUCH_RANGE = 206, (401, 403, 404, 410), 416
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
BROKEN = (http.client.HTTPException, urllib.error.URLError, OSError)

Report = Callable[[int, int | None], None]


def fetch(url: str, path: Path, report: Report = lambda done, total: None) -> None:
    """Bring ``url`` to the file ``path``, and go on from its end if a part is there.

    Where the connection breaks, the rest is asked for again (HTTP Range), until several tries in a
    row bring nothing. A server that cannot give parts sends all from the beginning. ``report`` is
    told how many bytes are there, and of how many if the server says so.

    Raises:
        CorpusError: there is no such file, or the server cannot be reached; what came is kept.
        OSError: the file cannot be written.
    """
    tries = 0
    while True:
        before = _size(path)
        try:
            if _go_on(url, path, report):
                return
            fault = "the connection broke"
        except urllib.error.HTTPError as error:
            fault = f"the server says {error.code} {error.reason}"
            if error.code in NOT_THERE:
                raise CorpusError(fault, where=url, remedy="check the name or the mirror") from None
        except _UnwritableError as error:
            raise error.fault from None
        except BROKEN as error:
            fault = str(getattr(error, "reason", error))
        tries = 0 if _size(path) > before else tries + 1
        if tries > len(WAITS):
            raise CorpusError(
                f"{fault}; {tries} tries brought nothing more",
                where=url,
                remedy=f"run it again later: the {_size(path)} bytes that came are kept",
            )
        time.sleep(WAITS[tries - 1] if tries else 0.0)


class _UnwritableError(Exception):
    """The disk's fault, not the connection's."""

    def __init__(self, fault: OSError) -> None:
        self.fault = fault


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _go_on(url: str, path: Path, report: Report) -> bool:
    """Ask once for what is missing; True if all is there then."""
    there = _size(path)
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()  # which keeps the connection else
        if there and error.code == NO_SUCH_RANGE:
            return _is_whole(error, path, there)
        raise
    with answer:
        begin, total = _extent(answer, there)
        _append(answer, path, begin, total, report)
    return total is None or _size(path) >= total


def _is_whole(error: urllib.error.HTTPError, path: Path, there: int) -> bool:
    """Whether a file that has no more bytes than ``there`` is complete; else it is begun anew."""
    if error.headers.get("Content-Range") == f"bytes */{there}":
        return True
    path.unlink()
    return False


def _extent(answer: Any, there: int) -> tuple[int, int | None]:
    """Where the bytes that come begin, and how many there are of the whole file."""
    if answer.status == PARTIAL_CONTENT:
        match = RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != there:
            raise http.client.HTTPException("the server sent another part than was asked for")
        return there, None if match[2] == "*" else int(match[2])
    length = answer.headers.get("Content-Length")
    return 0, None if length is None else int(length)


def _append(answer: Any, path: Path, begin: int, total: int | None, report: Report) -> None:
    try:
        stream = path.open("r+b" if begin else "wb", buffering=0)  # what came is in the file
    except OSError as error:
        raise _UnwritableError(error) from None
    with stream:
        stream.seek(begin)
        done = begin
        while block := answer.read1(BLOCK):
            _write(stream, block)
            done += len(block)
            report(done, total)


def _write(stream: FileIO, block: bytes) -> None:
    left = memoryview(block)
    try:
        while left:
            left = left[stream.write(left) :]
    except OSError as error:
        raise _UnwritableError(error) from None
