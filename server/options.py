"""What an operator can choose, checked before anything starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from asr.types import ConfigError
from server.addresses import AddressError, listening
from server.limits import DEFAULT_PORT
from server.resources import processors
from server.transport.credentials import check_exposure

__all__ = [
    "BatchOptions",
    "CapacityOptions",
    "ListenOptions",
    "ServerOptions",
    "StreamOptions",
    "check_range",
    "read_host",
]

MIB = 1024 * 1024


@dataclass(frozen=True)
class ListenOptions:
    """Where to listen (port 0: any free one), and how calls are protected there.

    ``host`` is a name, an address (IPv6 with or without brackets) or a Unix socket, ``unix:PATH``;
    for that ``port`` means nothing.

    ``insecure`` admits calls from other machines without encryption. ``certificate`` and ``key``
    are PEM files; with ``client_ca`` clients need a certificate signed by it. ``token_file`` holds
    the bearer tokens that clients may show.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    insecure: bool = False
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    token_file: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", read_host(self.host))
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port {self.port} is none", remedy="give 0 to 65535")
        if (self.certificate is None) != (self.key is None):
            raise ConfigError(
                "TLS needs a certificate and its key, and one of them is missing",
                remedy="give --tls-certificate and --tls-key",
            )
        if self.client_ca is not None and self.certificate is None:
            raise ConfigError(
                "certificates of clients can be checked with TLS only",
                remedy="give --tls-certificate and --tls-key as well",
            )
        check_exposure(self.host, encrypted=self.certificate is not None, allowed=self.insecure)


@dataclass(frozen=True)
class BatchOptions:
    """How calls are joined into batches.

    Attributes:
        parallel: batches that are computed at a time, each by its share of the processors, one at
            least. On a CPU it is fastest to have one more than processors, so that none of them
            waits between two batches; a GPU takes one.
        batch_seconds: audio in one batch, padding counted; longer audio is a batch of its own.
        wait_seconds: how long a free model waits for calls that are on their way.
        padding: the share of a batch that may be padding. On a CPU padding costs more than a
            larger batch gains.
    """

    parallel: int = field(default_factory=lambda: processors() + 1)
    batch_seconds: float = 60.0
    wait_seconds: float = 0.005
    padding: float = 0.2

    def __post_init__(self) -> None:
        check_range("batches at a time", self.parallel, 1, 1024)
        check_range("batch seconds", self.batch_seconds, 1.0, 3600.0)
        check_range("the wait for a batch", self.wait_seconds, 0.0, 1.0)
        check_range("the share of padding", self.padding, 0.0, 1.0)


@dataclass(frozen=True)
class CapacityOptions:
    """How much is taken in at once.

    Attributes:
        running: calls that work at a time, from decoding their audio to decoding their text.
        waiting: further calls that are taken in and wait their turn; the next is refused.
        memory_mark: bytes held by the process above which new calls are refused; None: 80 % of
            the machine's or the container's memory; 0: no mark.
        upload_bytes: bytes that all uploads hold together.
        idle_seconds: an upload that is slower than ``UPLOAD_BYTES_PER_SECOND`` over this time is
            ended.
        audio_processes: processes that decode audio.
        search_threads: threads that decode text.
    """

    running: int = 32
    waiting: int = 96
    memory_mark: int | None = None
    upload_bytes: int = 1024 * MIB
    idle_seconds: float = 10.0
    audio_processes: int = field(default_factory=processors)
    search_threads: int = field(default_factory=processors)

    def __post_init__(self) -> None:
        check_range("calls that work at a time", self.running, 1, 10_000)
        check_range("calls that wait", self.waiting, 0, 100_000)
        check_range("the memory mark", self.memory_mark or 0, 0, math.inf)
        check_range("bytes of uploads", self.upload_bytes, MIB, math.inf)
        check_range("the idle time", self.idle_seconds, 0.01, 3600.0)
        check_range("processes for audio", self.audio_processes, 1, 1024)
        check_range("threads for decoding", self.search_threads, 1, 1024)


@dataclass(frozen=True)
class StreamOptions:
    """How live streams are taken in, and joined into batches.

    Attributes:
        streams: live streams at a time; the next is refused.
        parallel: batches of chunks that are computed at a time, each by a thread.
        batch_streams: chunks in one batch at most.
        wait_seconds: how long a chunk waits for those of others.
        buffer_seconds: audio of one stream that waits to be computed; its client then has to wait.
    """

    streams: int = field(default_factory=lambda: 30 * processors())
    parallel: int = field(default_factory=processors)
    batch_streams: int = 32
    wait_seconds: float = 0.01
    buffer_seconds: float = 4.0

    def __post_init__(self) -> None:
        check_range("live streams", self.streams, 0, 100_000)
        check_range("batches of live streams at a time", self.parallel, 1, 1024)
        check_range("live streams in a batch", self.batch_streams, 1, 1024)
        check_range("the wait for a batch of live streams", self.wait_seconds, 0.0, 1.0)
        check_range("the buffer of a live stream", self.buffer_seconds, 0.1, 60.0)


@dataclass(frozen=True)
class ServerOptions:
    """All of them. ``grace_seconds`` is how long a stop waits for accepted calls.

    Metrics are served over HTTP at ``metrics_host`` and ``metrics_port``; None: they are not.
    ``tracing`` sends spans by OpenTelemetry, as its environment variables say.
    """

    listen: ListenOptions = field(default_factory=ListenOptions)
    capacity: CapacityOptions = field(default_factory=CapacityOptions)
    batch: BatchOptions = field(default_factory=BatchOptions)
    stream: StreamOptions = field(default_factory=StreamOptions)
    grace_seconds: float = 60.0
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    tracing: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics_host", read_host(self.metrics_host))
        check_range("the grace time", self.grace_seconds, 0.0, 86_400.0)


def read_host(text: str) -> str:
    """A name or address to listen on, an IPv6 one without its brackets; or ``unix:PATH``.

    Raises:
        ConfigError: it is none of these.
    """
    try:
        return listening(text)
    except AddressError as error:
        raise ConfigError(error.what, remedy=error.remedy) from None


def check_range(what: str, value: float, least: float, most: float) -> None:
    """Raise ConfigError unless ``value``, of the option ``what``, lies in [least, most]."""
    if not least <= value <= most:  # false for NaN too
        bounds = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
        raise ConfigError(f"{what}: {value:g} is out of range", remedy=f"give {bounds}")
