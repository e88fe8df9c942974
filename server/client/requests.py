"""The messages of requests, and the audio that they carry."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import BinaryIO

from server.limits import MESSAGE_LIMIT, SPOKEN_SECONDS
from server.pb.v1.speech_pb2 import RecognitionConfig, TranscribeRequest

__all__ = ["CHUNK_BYTES", "DEFAULT_TIMEOUT", "Audio", "split", "stream_timeout"]

DEFAULT_TIMEOUT = 300.0
CHUNK_BYTES = 256 * 1024


class Audio:
    """The bytes of ``source`` from where it stands, to be read once, or again for another attempt.

    ``can_rewind`` is False for pipes and the like.
    """

    def __init__(self, source: bytes | BinaryIO) -> None:
        self._source = io.BytesIO(source) if isinstance(source, bytes) else source
        self.can_rewind = self._source.seekable()
        self._start = self._source.tell() if self.can_rewind else 0
        self._head = b""
        self._attempt = 0
        self._lock = threading.Lock()

    def single_request(self, config: RecognitionConfig) -> TranscribeRequest | None:
        """The audio in one message with ``config``, or None if it does not fit into one."""
        self._head = self._read_head()
        request = TranscribeRequest(config=config, audio=self._head)
        return request if request.ByteSize() <= MESSAGE_LIMIT else None

    def _read_head(self) -> bytes:
        """As much as a message may have, or all; a single read may give less."""
        head = bytearray()
        while piece := self._source.read(MESSAGE_LIMIT - len(head)):
            if len(piece) == MESSAGE_LIMIT:
                return piece
            head += piece
        return bytes(head)

    def pieces(self) -> Iterator[bytes]:
        """All of it in pieces of ``CHUNK_BYTES``, read when they are asked for."""
        return self._pieces(self._head, self._attempt)

    def rewind(self) -> None:
        """Begin again, where ``can_rewind``. Iterators from before end.

        They may be in use: the thread that feeds a call goes on for a moment when the call is over.
        """
        with self._lock:
            self._attempt += 1
            self._head = b""
            self._source.seek(self._start)

    def _pieces(self, head: bytes, attempt: int) -> Iterator[bytes]:
        yield from split(head)
        while True:
            with self._lock:
                piece = self._source.read(CHUNK_BYTES) if attempt == self._attempt else b""
            if not piece:
                return
            yield piece


def split(piece: bytes) -> Iterator[bytes]:
    """``piece`` in pieces of ``CHUNK_BYTES`` at most, none of them empty."""
    for start in range(0, len(piece), CHUNK_BYTES):
        yield piece[start : start + CHUNK_BYTES]


def stream_timeout(timeout: float) -> float:
    """Seconds for a stream: the longest audio as it is spoken, then as long as any other call."""
    return SPOKEN_SECONDS + timeout
