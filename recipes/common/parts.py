"""A part of a file: so many bytes from some place on, of a file on disk or at a URL.

A part is written ``PLACE?offset=BYTES&size=BYTES``.
"""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from asr.types import AudioError

__all__ = ["Part", "is_url"]

FORM = re.compile(r"(.+)\?offset=(\d+)&size=(\d+)", re.DOTALL)
URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
TIMEOUT = 60.0  # seconds without a byte
WAITS = (0.5, 2.0, 8.0)  # seconds before each further try
LASTING = range(400, 500)  # answers that another try does not change


def is_url(place: str) -> bool:
    """True for ``https://…`` and the like."""
    return URL.match(place) is not None


class Part(NamedTuple):
    """``size`` bytes from ``offset`` on of what ``place``, a path or a URL, leads to."""

    place: str
    offset: int
    size: int

    @classmethod
    def of(cls, text: str) -> Part:
        """Read what ``str(part)`` gives.

        Raises:
            ValueError: it is something else.
        """
        match = FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"no part of a file: {text}")
        return cls(match[1], int(match[2]), int(match[3]))

    def __str__(self) -> str:
        return f"{self.place}?offset={self.offset}&size={self.size}"

    def below(self, folder: Path) -> Part:
        """The same part where a relative path is one below ``folder``."""
        return self if is_url(self.place) else self._replace(place=str(folder / self.place))

    def is_there(self) -> bool:
        """False if the file is missing or too short. Nothing is asked of URLs."""
        if is_url(self.place):
            return True
        path = Path(self.place)
        return path.is_file() and path.stat().st_size >= self.offset + self.size

    def read(self) -> bytes:
        """The bytes. From a URL they are asked for by HTTP Range, several times if need be.

        Raises:
            AudioError: they cannot be read.
        """
        try:
            data = _from_url(self) if is_url(self.place) else _from_file(self)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise AudioError(
                f"cannot read: {reason}", where=self.place, remedy="check where the shards are"
            ) from None
        if len(data) != self.size:
            raise AudioError(
                f"{len(data)} bytes from {self.offset} on, not {self.size}",
                where=self.place,
                remedy="restore the shard, or run `prepare` again",
            )
        return data


def _from_file(part: Part) -> bytes:
    with open(part.place, "rb") as stream:
        stream.seek(part.offset)
        return stream.read(part.size)


def _from_url(part: Part) -> bytes:
    for wait in WAITS:
        try:
            data = _ask(part)
            if len(data) == part.size:
                return data
        except urllib.error.HTTPError as error:
            if error.code in LASTING:
                raise
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(wait)
    return _ask(part)


def _opened(request: urllib.request.Request) -> http.client.HTTPResponse:
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()  # which keeps the connection else
        raise


def _ask(part: Part) -> bytes:
    last = part.offset + part.size - 1
    request = urllib.request.Request(part.place, headers={"Range": f"bytes={part.offset}-{last}"})
    with _opened(request) as answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            raise AudioError(
                "the server sends whole files only, not parts of them (HTTP Range)",
                where=part.place,
                remedy="serve the shards from an object store, or copy them to a disk",
            )
        return answer.read(part.size)
