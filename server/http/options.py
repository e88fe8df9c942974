"""What the operator of a gateway can choose."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from asr.types import ConfigError
from server.client import DEFAULT_ADDRESS, DEFAULT_TIMEOUT, Security
from server.client.aio import MAX_STREAMS
from server.options import ListenOptions, check_range, read_host

__all__ = ["DEFAULT_PORT", "GatewayOptions"]

DEFAULT_PORT = 8080
MIB = 1024 * 1024


@dataclass(frozen=True)
class GatewayOptions:
    """Where a gateway listens, which server it asks, and how much it takes in at once.

    Attributes:
        listen: the gateway's own address; ``token_file`` has the keys that clients show.
        address: the server's, as the client takes it.
        security: how the server is reached.
        timeout: seconds that a request may take at the server.
        language: the code of the language that the models know (ISO 639-1).
        requests: transcriptions at a time; the next is refused.
        sockets: WebSockets at a time; the next is refused.
        upload_bytes: bytes that the bodies of all requests have together.
        idle_seconds: a body that is slower than ``UPLOAD_BYTES_PER_SECOND`` over this time is not
            waited for, nor a socket that says nothing.
        grace_seconds: how long a stop waits for requests.
        origins: pages of other sites that may ask, ``https://example.org`` for one.
        metrics_host, metrics_port: where Prometheus may ask by HTTP; None: nowhere.
    """

    listen: ListenOptions = field(default_factory=lambda: ListenOptions(port=DEFAULT_PORT))
    address: str = DEFAULT_ADDRESS
    security: Security = field(default_factory=Security)
    timeout: float = DEFAULT_TIMEOUT
    language: str = "en"
    requests: int = 64
    sockets: int = 128
    upload_bytes: int = 1024 * MIB
    idle_seconds: float = 10.0
    grace_seconds: float = 30.0
    origins: tuple[str, ...] = ()
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "language", _code_of(self.language))
        object.__setattr__(self, "metrics_host", read_host(self.metrics_host))
        check_range(
            "requests and WebSockets at a time", self.requests + self.sockets, 1, MAX_STREAMS
        )
        check_range("requests at a time", self.requests, 0, MAX_STREAMS)
        check_range("WebSockets at a time", self.sockets, 0, MAX_STREAMS)
        check_range("bytes of uploads", self.upload_bytes, MIB, float("inf"))
        check_range("the idle time", self.idle_seconds, 0.01, 3600.0)
        check_range("the grace time", self.grace_seconds, 0.0, 3600.0)


def _code_of(language: str) -> str:
    """The code of a language that may be named with a country: ``en`` of ``en-US``."""
    code = re.split("[-_]", language.strip().lower())[0]
    if not re.fullmatch("[a-z]{2,3}", code):
        raise ConfigError(
            f"{language[:100]!r} is no language", remedy="give its code of ISO 639-1, such as en"
        )
    return code
