"""A gateway's life: take the port, serve, read keys and certificates again, drain."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import uvicorn
from starlette.types import ASGIApp

from asr.types import ConfigError
from server.addresses import is_loopback, is_socket
from server.client import AsyncClient
from server.http.admission import Admission
from server.http.application import make_application
from server.http.metrics import GatewayMetrics
from server.http.options import GatewayOptions
from server.http.protocol import PatientProtocol
from server.http.socket import Sockets
from server.limits import MESSAGE_LIMIT
from server.options import ListenOptions
from server.telemetry.metrics_http import MetricsServer
from server.transport.authentication import Tokens
from server.transport.credentials import TlsFiles, check_files

__all__ = ["serve"]

log = logging.getLogger(__name__)

BACKLOG = 128  # connections that wait to be taken up


async def serve(
    options: GatewayOptions,
    stop: asyncio.Event,
    reload: asyncio.Event,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until ``stop`` is set, then let requests finish; read keys and certificates again
    whenever ``reload`` is.

    ``on_ready`` is given the URL when requests are answered. The server behind the gateway need not
    be there.

    Raises:
        ConfigError: the address, or a file that the options name, cannot be used.
        ClientError: the server's address or its security cannot be used.
    """
    listen = options.listen
    keys = None if listen.token_file is None else Tokens.load(listen.token_file)
    tls = _Tls(listen)
    async with AsyncClient(
        options.address, timeout=options.timeout, security=options.security, retries=0
    ) as client:
        admission = Admission(options.requests, options.sockets, options.upload_bytes)
        metrics = GatewayMetrics()
        sockets = Sockets(client, admission, options, keys, metrics)
        application = make_application(client, admission, options, keys, sockets, metrics)
        with _listening(listen) as door, _telling(metrics, options):
            server = _server(application, options.grace_seconds, tls.context)
            serving = asyncio.ensure_future(server.serve([door]))
            on_ready(_url(listen, door))
            reloading = asyncio.ensure_future(_reload(reload, keys, tls))
            stopped = asyncio.ensure_future(stop.wait())
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            reloading.cancel()
            stopped.cancel()
            begun = time.monotonic()
            await sockets.drain(options.grace_seconds)
            left = options.grace_seconds - (time.monotonic() - begun)
            server.config.timeout_graceful_shutdown = max(1, math.ceil(left))
            server.should_exit = True
            await serving


@contextmanager
def _telling(metrics: GatewayMetrics, options: GatewayOptions) -> Iterator[None]:
    """Serve ``metrics``, where they are to be served."""
    if options.metrics_port is None:
        yield
        return
    server = MetricsServer(metrics.registry, options.metrics_host, options.metrics_port)
    server.start()
    try:
        log.info("metrics at %s:%d", options.metrics_host, server.port)
        yield
    finally:
        server.stop()


class _Server(uvicorn.Server):
    """Signals are heard elsewhere."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Of uvicorn."""
        return nullcontext()


def _server(
    application: ASGIApp, grace_seconds: float, context: ssl.SSLContext | None
) -> uvicorn.Server:
    config = uvicorn.Config(
        application,
        http=PatientProtocol,
        ws_max_size=MESSAGE_LIMIT,
        ws_per_message_deflate=False,  # samples do not get smaller by it
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
    )
    config.load()
    config.ssl = context
    return _Server(config)


class _Tls:
    """The certificate of the options, if there is one; new connections use it as last read."""

    def __init__(self, listen: ListenOptions) -> None:
        self._files: TlsFiles | None = None
        self.context: ssl.SSLContext | None = None
        if listen.certificate is not None and listen.key is not None:
            self._files = TlsFiles(listen.certificate, listen.key, listen.client_ca)
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.minimum_version = ssl.TLSVersion.TLSv1_2
            self.context.set_alpn_protocols(["http/1.1"])
            self.read()

    def read(self) -> None:
        """Read the files.

        Raises:
            ConfigError: they cannot be used; what was read before stays.
        """
        if self._files is None or self.context is None:
            return
        check_files(self._files)
        self.context.load_cert_chain(self._files.certificate, self._files.key)


async def _reload(asked: asyncio.Event, keys: Tokens | None, tls: _Tls) -> None:
    while True:
        await asked.wait()
        asked.clear()
        for read in ([keys.reload] if keys is not None else []) + [tls.read]:
            try:
                read()
            except (ConfigError, OSError, ssl.SSLError) as error:
                log.error("nothing is changed: %s", error)
        log.info("keys and certificates were read again")


def _listening(listen: ListenOptions) -> socket.socket:
    """The socket that takes connections.

    Raises:
        ConfigError: it is no address of this machine's, or taken.
    """
    if is_socket(listen.host):
        raise ConfigError(
            "the gateway listens on TCP alone", where=listen.host, remedy="give an address"
        )
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        door = socket.create_server((listen.host, listen.port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"the gateway cannot listen there: {getattr(error, 'strerror', None) or error}",
            where=f"{listen.host}:{listen.port}",
            remedy="choose another port, or 0 for any free one, and an address of this machine",
        ) from None
    if listen.certificate is None and not is_loopback(listen.host):
        log.warning("open to other machines, without encryption")
    return door


def _url(listen: ListenOptions, door: socket.socket) -> str:
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    scheme = "http" if listen.certificate is None else "https"
    return f"{scheme}://{host}:{door.getsockname()[1]}"
