"""The server's life: bind, load and warm up, serve, drain."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from asr.recognizer import Recognizer
from asr.types import ConfigError, Waveform
from server.health import Health
from server.limits import DEFAULT_PORT, MESSAGE_LIMIT
from server.pb.v1.speech_pb2_grpc import add_SpeechServicer_to_server
from server.service import SpeechService

__all__ = ["ServerOptions", "serve"]

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "::1", "localhost")
WARM_UP_SECONDS = 1.0
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    # Otherwise two servers may share a port, each answering some of the calls.
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True)
class ServerOptions:
    """Where to listen (port 0: any free one), and how many seconds a stop waits for calls."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    grace_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port {self.port} is none", remedy="give 0 to 65535")
        if not 0 <= self.grace_seconds < float("inf"):
            raise ConfigError(
                f"the grace time is {self.grace_seconds} s", remedy="give 0 or more seconds"
            )


async def serve(
    load: Callable[[], Recognizer],
    options: ServerOptions,
    stop: asyncio.Event,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until ``stop`` is set, then let accepted calls finish.

    The port is taken first, so that a second server fails at once and health checks are answered
    while ``load`` runs. ``on_ready`` is given the address when calls can be answered.

    Raises:
        ConfigError: the address cannot be used.
        AsrError: whatever ``load`` raises.
    """
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recognition")
    service, health = SpeechService(executor), Health()
    server = grpc.aio.server(options=CHANNEL_OPTIONS)
    add_SpeechServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    add_HealthServicer_to_server(health, server)
    address = _bind(server, options)
    await server.start()
    try:
        loaded = asyncio.get_running_loop().run_in_executor(executor, _load, load)
        stopped = asyncio.ensure_future(stop.wait())
        either: set[asyncio.Future[Any]] = {loaded, stopped}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            service.recognizer = await loaded
            health.serve()
            on_ready(address)
            await stopped
        log.info("draining: no new calls, up to %g s for those accepted", options.grace_seconds)
    finally:
        health.drain()
        await server.stop(options.grace_seconds)
        executor.shutdown(wait=False, cancel_futures=True)


def _bind(server: grpc.aio.Server, options: ServerOptions) -> str:
    """Take the port; returns the address as a client writes it."""
    is_ipv6 = ":" in options.host
    host = f"[{options.host}]" if is_ipv6 else options.host
    try:
        # gRPC would say why it cannot listen only in its log, so a plain socket tries first.
        with socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((options.host, options.port))
        port = server.add_insecure_port(f"{host}:{options.port}")
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"the server cannot listen there: {getattr(error, 'strerror', None) or error}",
            where=f"{host}:{options.port}",
            remedy="choose another port, or 0 for any free one, and an address of this machine",
        ) from None
    if options.host not in LOOPBACK:
        log.warning("open to other machines, without encryption or authentication")
    return f"{host}:{port}"


def _load(load: Callable[[], Recognizer]) -> Recognizer:
    """Load the model and recognise a second of faint noise: the first call would find it slow."""
    recognizer = load()
    count = int(WARM_UP_SECONDS * recognizer.sample_rate)
    noise = np.random.default_rng(0).normal(scale=1e-3, size=count).astype(np.float32)
    recognizer.recognize([Waveform(noise, recognizer.sample_rate)])
    return recognizer
