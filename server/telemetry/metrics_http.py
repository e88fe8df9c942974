"""The port of the metrics: HTTP in threads of its own, which no client of it can exhaust."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections import OrderedDict
from contextlib import suppress
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, MetricsHandler

from asr.types import ConfigError
from server.addresses import is_socket

__all__ = ["MetricsServer"]

PATH = "/metrics"
CONNECTIONS = 8  # at once; a further one ends the oldest
SILENCE_SECONDS = 5.0  # then a connection ends that sends or takes nothing


class MetricsServer:
    """Serves ``registry`` at ``http://host:port/metrics`` between :meth:`start` and :meth:`stop`.

    The address is taken at once, so that an occupied one is known before the server serves.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(self, registry: CollectorRegistry, host: str = "127.0.0.1", port: int = 0) -> None:
        if is_socket(host):
            raise ConfigError(
                "metrics are served over TCP",
                where=host,
                remedy="give an address, 127.0.0.1 for one",
            )
        try:
            self._server = _Server(registry, host, port)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"metrics cannot be served there: {getattr(error, 'strerror', None) or error}",
                where=f"{host}:{port}",
                remedy="choose another port, and an address of this machine",
            ) from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more. Does not wait for clients."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.end_all()


class _Server(ThreadingHTTPServer):
    """prometheus_client's own server waits for silent clients without end, in a thread for each."""

    daemon_threads = True
    request_queue_size = 128  # that of its base, 5, makes a burst of clients wait for seconds

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        self._open: OrderedDict[Any, None] = OrderedDict()
        self._lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        handler = type("_Handler", (_Handler,), {"registry": registry})
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        """As that of HTTPServer, which also asks the network for the name of the host."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread; beyond the limit at the cost of the connection that is there the longest."""
        with self._lock:
            self._open[request] = None
            oldest = next(iter(self._open)) if len(self._open) > CONNECTIONS else None
            if oldest is not None:
                del self._open[oldest]
        if oldest is not None:
            _cut(oldest)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """A connection is over."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def end_all(self) -> None:
        with self._lock:
            connections = list(self._open)
            self._open.clear()
        for connection in connections:
            _cut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(MetricsHandler):
    """The page at one path, and its head; prometheus_client's own is at every path."""

    timeout = SILENCE_SECONDS

    def do_GET(self) -> None:  # noqa: N802
        """Of http.server."""
        if self._is_here():
            super().do_GET()

    def do_HEAD(self) -> None:  # noqa: N802
        """Of http.server: the page without its body."""
        if not self._is_here():
            return
        client, self.wfile = self.wfile, BytesIO()
        super().do_GET()
        page, self.wfile = self.wfile.getvalue(), client
        head, blank, _ = page.partition(b"\r\n\r\n")
        self.wfile.write(head + blank)

    def _is_here(self) -> bool:
        if urlsplit(self.path).path == PATH:
            return True
        self.send_error(HTTPStatus.NOT_FOUND, explain=f"metrics are at {PATH}")
        return False

    def _refuse(self) -> None:
        self.send_response(HTTPStatus.METHOD_NOT_ALLOWED)
        self.send_header("Allow", "GET, HEAD")
        self.end_headers()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815


def _cut(connection: Any) -> None:
    """Wakes its thread, which then closes it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
