"""``grpc.health.v1``: whether the server can transcribe at this moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

__all__ = ["SERVICES", "Health"]

SERVICES = ("", "asr.v1.Speech")  # "" is the server as a whole

Context = grpc.aio.ServicerContext[object, object]


class Health(HealthServicer):  # type: ignore[misc]
    """One status for all services: NOT_SERVING until :meth:`serve`, and again after :meth:`drain`.

    The ready-made servicer of grpcio-health-checking begins with SERVING, and its Watch calls never
    end, so that a single watcher would hold up the server's graceful stop. Here a watcher is told
    NOT_SERVING and then let go.
    """

    def __init__(self) -> None:
        self._status = HealthCheckResponse.NOT_SERVING
        self._draining = False
        self._changed = asyncio.Event()  # of the present status; the next has its own

    def serve(self) -> None:
        """From now on: SERVING."""
        self._set(HealthCheckResponse.SERVING)

    def drain(self) -> None:
        """From now on: NOT_SERVING, for good."""
        self._draining = True
        self._set(HealthCheckResponse.NOT_SERVING)

    def _set(self, status: HealthCheckResponse.ServingStatus) -> None:
        self._status = status
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(  # noqa: N802
        self, request: HealthCheckRequest, context: Context
    ) -> HealthCheckResponse:
        """The status now; NOT_FOUND for a service that is not here."""
        if request.service not in SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return HealthCheckResponse(status=self._status)

    async def Watch(  # noqa: N802
        self, request: HealthCheckRequest, context: Context
    ) -> AsyncIterator[HealthCheckResponse]:
        """The status now and after each change, until the server stops."""
        known = request.service in SERVICES
        while True:
            changed = self._changed
            status = self._status if known else HealthCheckResponse.SERVICE_UNKNOWN
            yield HealthCheckResponse(status=status)
            if self._draining:
                return
            await changed.wait()
