"""Bearer tokens: who has none is not served."""

from __future__ import annotations

import hmac
import logging
import re
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc

from asr.files.read import read_text
from asr.types import ConfigError
from server.telemetry.records import refuse
from server.transport.handlers import HEALTH, Continuation, Handler

__all__ = ["Authentication", "Tokens"]

log = logging.getLogger(__name__)

MIN_CHARACTERS, MAX_CHARACTERS = 16, 512
TOKEN = re.compile(rf"[!-~]{{{MIN_CHARACTERS},{MAX_CHARACTERS}}}")
REMEDY = "give a text file with one token a line"
FILE_LIMIT = 1024 * 1024  # bytes; a thousand of the longest tokens


class Tokens:
    """The tokens of a file: one a line, 16 to 512 visible ASCII characters.

    Empty lines and lines that begin with ``#`` are left out. Only SHA-256 digests are kept, so that
    no token stands in memory, and comparing them takes the same time whatever their lengths.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digests = _read(path)

    @classmethod
    def load(cls, path: Path | str) -> Tokens:
        """Read ``path``.

        Raises:
            ConfigError: the file cannot be read, holds no token, one twice, or one that cannot be.
        """
        return cls(Path(path))

    def reload(self) -> None:
        """Read the file again. Where that fails, the tokens stay as they are.

        Raises:
            ConfigError: as :meth:`load`.
        """
        self._digests = _read(self._path)

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, token: str) -> bool:
        """Whether ``token`` is one of them; every one is compared, found or not."""
        given = _digest(token)
        found = False
        for digest in self._digests:
            found |= hmac.compare_digest(digest, given)
        return found


class Authentication(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Answers calls without one of ``tokens`` with UNAUTHENTICATED, before their requests are read.

    Probes of ``grpc.health.v1`` need no token.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def intercept_service(  # type: ignore[override]
        self, continuation: Continuation, details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Of grpc.aio."""
        if details.method.startswith(HEALTH):
            return await continuation(details)
        metadata: Any = details.invocation_metadata or ()
        given = [value for key, value in metadata if key == "authorization"]
        if not given:
            return _refusal("a bearer token is missing: send `authorization: Bearer TOKEN`")
        scheme, _, token = str(given[0]).partition(" ")
        right = token.strip() in self._tokens
        if not right or len(given) != 1 or scheme.lower() != "bearer":
            return _refusal("the bearer token is wrong")
        return await continuation(details)


def _refusal(message: str) -> Handler:
    """A handler for any kind of method. As one for streams it need not read a request first."""

    async def unauthenticated(_: Any, context: Any) -> None:
        await refuse(context, grpc.StatusCode.UNAUTHENTICATED, "token", message)

    return grpc.stream_stream_rpc_method_handler(unauthenticated)


def _read(path: Path) -> tuple[bytes, ...]:
    try:
        if path.stat().st_size > FILE_LIMIT:
            raise ConfigError(
                "the file of tokens is larger than 1 MiB", where=str(path), remedy="is it the file?"
            )
        text = read_text(path, ConfigError, remedy=REMEDY)
        readable = path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    except OSError as error:
        what = f"the tokens cannot be read: {error.strerror}"
        raise ConfigError(what, where=str(path), remedy=REMEDY) from None
    if readable:
        log.warning("%s can be read by others than its owner: chmod 600 it", path)
    return _parse(text, path)


def _parse(text: str, path: Path) -> tuple[bytes, ...]:
    """The digests in their order; messages name lines and never show a token."""
    lines: dict[bytes, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if not TOKEN.fullmatch(token):
            raise ConfigError(
                "a token is not 16 to 512 visible ASCII characters",
                where=f"{path}, line {number}",
                remedy="make one with `openssl rand -base64 32`",
            )
        first = lines.setdefault(_digest(token), number)
        if first != number:
            raise ConfigError(
                f"the token of line {first} is there again",
                where=f"{path}, line {number}",
                remedy="remove one of them",
            )
    if not lines:
        raise ConfigError(
            "there is no token",
            where=str(path),
            remedy="nobody could call: add one, or leave it out",
        )
    return tuple(lines)


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
