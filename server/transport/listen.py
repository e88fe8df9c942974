"""The server's port: taken for itself alone, encrypted where asked, what comes in is bounded."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from asr.types import ConfigError
from server.addresses import is_loopback, is_socket
from server.limits import MESSAGE_LIMIT
from server.options import ListenOptions
from server.transport.credentials import TlsFiles, server_credentials
from server.transport.parsing import METADATA_OPTIONS

__all__ = ["listen", "make_server"]

log = logging.getLogger(__name__)

STREAMS_PER_CONNECTION = 1024
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    *METADATA_OPTIONS,
    # A call that has come while there was room has its message in memory before it has a place, so
    # the number of such calls is bounded here.
    ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
    # Otherwise two servers may share a port, each answering some of the calls.
    ("grpc.so_reuseport", 0),
    # A client whose machine vanished without a word gives its places back, and its connection.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Clients may ask every 10 s, which is as often as gRPC's own do, whether the server is still
    # there; half of it here, because pings are on their way for now more, now less time. Without
    # the second option only those with a call may, and others every two hours.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


def make_server(interceptors: Sequence[grpc.aio.ServerInterceptor[Any, Any]]) -> grpc.aio.Server:
    """A server without a port."""
    return grpc.aio.server(options=CHANNEL_OPTIONS, interceptors=interceptors)


def listen(server: grpc.aio.Server, options: ListenOptions) -> str:
    """Take the port; returns the address as a client writes it.

    Raises:
        ConfigError: the address, the certificate or the key cannot be used.
    """
    address = _address(options.host, options.port)
    try:
        # gRPC would say why it cannot listen only in its log, so a plain socket tries first.
        _try(options.host, options.port)
        port = _add_port(server, address, options)
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"the server cannot listen there: {getattr(error, 'strerror', None) or error}",
            where=address,
            remedy="choose another socket, in a folder that the server's user may write to"
            if is_socket(options.host)
            else "choose another port, or 0 for any free one, and an address of this machine",
        ) from None
    if options.certificate is None and not is_loopback(options.host):
        log.warning("open to other machines, without encryption")
    return _address(options.host, port)


def _address(host: str, port: int) -> str:
    """As a client writes it."""
    if is_socket(host):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _try(host: str, port: int) -> None:
    """Take the place for a moment."""
    if host.startswith("unix:"):
        _try_socket(Path(host.removeprefix("unix:")))
    elif not is_socket(host):  # one without a file is free as soon as its server ends
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))


def _try_socket(path: Path) -> None:
    """gRPC removes a socket that is there, even if another server listens on it."""
    with socket.socket(socket.AF_UNIX) as trial:
        if path.is_socket():
            try:
                trial.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()  # its server has ended without a word
            else:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    with socket.socket(socket.AF_UNIX) as trial:
        trial.bind(str(path))
    path.unlink()


def _add_port(server: grpc.aio.Server, address: str, options: ListenOptions) -> int:
    if options.certificate is None or options.key is None:
        return server.add_insecure_port(address)
    files = TlsFiles(options.certificate, options.key, options.client_ca)
    return server.add_secure_port(address, server_credentials(files))
