"""What Prometheus can ask of a gateway, with labels that no client chooses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

__all__ = ["LIVE", "GatewayMetrics", "Visit", "door_of"]

LIVE = "live"  # the door of WebSockets
DOORS = {  # by the beginning of the path; the first that fits
    "/v1/audio/transcriptions": "transcriptions",
    "/v1/models": "models",
    "/healthz": "health",
    "/page/": "page",
}
OTHER = "other"
GONE = 499  # the client did not wait for the answer
LAST_CODE = 1015  # of closing, that the protocol knows (RFC 6455); clients choose among thousands

# Seconds from a refusal to a session of hours.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 300, 1800, 14_400)


def door_of(path: str) -> str:
    """The name of the door that ``path`` leads to."""
    if path == "/":
        return "page"
    return next((door for start, door in DOORS.items() if path.startswith(start)), OTHER)


@dataclass
class Visit:
    """One request, or one WebSocket.

    Attributes:
        status: of HTTP or, for a WebSocket that was accepted, the code that it was closed with.
    """

    status: int = GONE


class GatewayMetrics:
    """Counters of one gateway, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(namespace="asr_gateway", registry=registry)
        self._requests = Counter(
            "asr_gateway_requests",
            "Requests and WebSockets that ended, by status or code of closing",
            ["door", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "asr_gateway_request_seconds",
            "From the start of a request, or of a WebSocket, to its end",
            ["door"],
            buckets=SECONDS,
            registry=registry,
        )
        self._in_progress = Gauge(
            "asr_gateway_requests_in_progress",
            "Requests under way, and open WebSockets",
            ["door"],
            registry=registry,
        )
        # A series that appears with its first event hides that event from `rate`.
        for door in (*DOORS.values(), OTHER):
            self._show_zeros(door, 200)
        self._show_zeros(LIVE, 1000)

    def _show_zeros(self, door: str, status: int) -> None:
        self._requests.labels(door, str(status))
        self._seconds.labels(door)
        self._in_progress.labels(door)

    @contextmanager
    def visit(self, door: str) -> Iterator[Visit]:
        """Count what comes by ``door``, and how it ends."""
        visit, begun = Visit(), time.monotonic()
        with self._in_progress.labels(door).track_inprogress():
            try:
                yield visit
            finally:
                self._requests.labels(door, _told(visit.status)).inc()
                self._seconds.labels(door).observe(time.monotonic() - begun)


def _told(status: int) -> str:
    return str(status) if status <= LAST_CODE else OTHER
