"""The server's life: take the port, load and warm up, serve, exchange models, drain."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from asr.recognizer import Recognizer
from server.application import Application
from server.engine.models import ModelSource
from server.options import ServerOptions
from server.pb.v1.speech_pb2_grpc import add_SpeechServicer_to_server
from server.telemetry.metrics_http import MetricsServer
from server.transport.authentication import Authentication
from server.transport.listen import listen, make_server
from server.transport.parsing import Parsing

__all__ = ["Signals", "serve"]

log = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0  # in which live streams may come to the end of a segment


@dataclass(frozen=True)
class Signals:
    """What the outside asks of a running server."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)


async def serve(
    source: ModelSource,
    read: Callable[[Path], Recognizer],
    options: ServerOptions,
    signals: Signals,
    on_ready: Callable[[str], None],
) -> bool:
    """Serve until ``signals.stop`` is set, then let accepted calls finish.

    The port is taken first, so that a second server fails at once and health checks are answered
    while models are loaded. ``on_ready`` is given the address when calls can be answered.

    Returns:
        Whether every accepted call was answered within the grace time.

    Raises:
        ConfigError: the address, or a file that the options name, cannot be used.
        AsrError: no model can be loaded, or not the default one.
    """
    application = Application(source, read, options)
    server = _server(application)
    address = listen(server, options.listen)
    with ExitStack() as stack:
        if options.metrics_port is not None:
            metrics = MetricsServer(
                application.metrics.registry, options.metrics_host, options.metrics_port
            )
            metrics.start()
            stack.callback(metrics.stop)
        await server.start()
        try:
            if await _finished_first(application.start(), signals.stop):
                application.health.serve()
                on_ready(address)
                await _reload_until_stopped(application, signals)
                log.info("draining: %g s for accepted calls, no new ones", options.grace_seconds)
            else:
                log.info("stopped before a model was loaded")
        finally:
            in_time = await _drain(application, server, options.grace_seconds)
            await application.close()
    return in_time


def _server(application: Application) -> grpc.aio.Server:
    interceptors: list[grpc.aio.ServerInterceptor[Any, Any]] = [application.call_log]
    if application.tokens is not None:
        interceptors.append(Authentication(application.tokens))
    server = make_server([*interceptors, application.entrance, Parsing()])
    add_SpeechServicer_to_server(application.service, server)  # type: ignore[no-untyped-call]
    if application.riva is not None:
        application.riva(server)
    add_HealthServicer_to_server(application.health, server)
    return server


async def _finished_first(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Whether ``work`` ended before ``stop`` was set; if not, it is cancelled."""
    working = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    either: set[asyncio.Future[Any]] = {working, stopped}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        stopped.cancel()
        await working  # raises what it raised
        return True
    working.cancel()
    await asyncio.wait({working})
    return False


async def _reload_until_stopped(application: Application, signals: Signals) -> None:
    """Read models and tokens anew whenever asked to, until the stop."""
    while not signals.stop.is_set():
        await _finished_first(_reload_when_asked(application, signals.reload), signals.stop)


async def _reload_when_asked(application: Application, asked: asyncio.Event) -> None:
    await asked.wait()
    asked.clear()  # asked again while it reads, it reads again
    await application.reload()


async def _drain(application: Application, server: grpc.aio.Server, grace_seconds: float) -> bool:
    """Tell health watchers, take no new calls, and let accepted ones finish.

    Returns:
        Whether they did within ``grace_seconds``; those that did not are cancelled.
    """
    application.health.drain()
    application.admission.close()
    application.live.drain(min(DRAIN_SECONDS, grace_seconds / 2))
    waiting = application.admission.accepted > 0
    begun = time.monotonic()
    await server.stop(grace_seconds)
    if waiting and time.monotonic() - begun >= grace_seconds:
        log.error("calls were cut off: they took longer than the grace time")
        return False
    return True
