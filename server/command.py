"""The options of ``asr-server``, and the server that they describe."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch

from asr import __version__
from asr.backends import AUTO, BACKENDS
from asr.bundle.shipped import shipped_bundle
from asr.gate import Gate
from asr.recognizer import Recognizer
from asr.types import ConfigError
from server.application import LIMITS
from server.engine.models import ModelSource, Repository, SingleBundle
from server.lifecycle import Signals, serve
from server.limits import DEFAULT_PORT
from server.options import (
    BatchOptions,
    CapacityOptions,
    ListenOptions,
    ServerOptions,
    StreamOptions,
)
from server.resources import processors
from server.riva import door as riva
from server.signals import SignalInbox
from server.telemetry.logs import add_log_options, setup_logging

__all__ = ["run"]

CUT_OFF = 1
MIB = 1024 * 1024


def run(arguments: Sequence[str] | None, inbox: SignalInbox) -> NoReturn:
    """Serve as ``arguments`` say, until ``inbox`` has a stop; then end the process.

    Raises:
        AsrError: the server cannot start.
    """
    options = _parser().parse_args(arguments)
    setup_logging(options.log_format, options.log_level)
    in_time = asyncio.run(_serve_until_signal(_source(options), options, inbox))
    # A thread that is stuck, or still loading a model, would keep the interpreter from ending.
    logging.shutdown()
    os._exit(0 if in_time else CUT_OFF)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="asr-server",
        description="Transcribe speech over gRPC (proto/asr/v1). SIGTERM and SIGINT let accepted "
        "calls finish, a second signal does not. SIGHUP reads models and tokens again. "
        f"{riva.state()} docs/serving.md tells the rest.",
    )
    parser.add_argument("--version", action="version", version=f"peephole-asr {__version__}")
    _add_models(parser)
    _add_listening(parser)
    _add_capacity(parser)
    _add_watching(parser)
    return parser


def _add_models(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("models")
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--model",
        type=Path,
        metavar="BUNDLE",
        help="one model bundle, a folder (default: the model that comes with the toolkit)",
    )
    which.add_argument(
        "--model-repository",
        type=Path,
        metavar="DIR",
        help="a folder of bundles, named as they are",
    )
    group.add_argument(
        "--default-model", metavar="NAME", help="of the repository, for calls that name none"
    )
    group.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    group.add_argument(
        "--backend",
        choices=BACKENDS,
        default=AUTO,
        help="what computes (default: the fastest that computes in float32)",
    )
    group.add_argument(
        "--silence-gate",
        type=float,
        default=-math.inf,
        metavar="DB",
        help="no text for audio whose loudest 50 ms are below this level; -60 suits recordings at "
        "usual levels (default: for digital silence only)",
    )
    group.add_argument(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="C",
        help="no text where the best is less sure than this (default: %(default)g)",
    )


def _add_listening(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("listening")
    add = group.add_argument
    default = ListenOptions()
    add(
        "--host",
        default=default.host,
        help="name, address, or unix:PATH for a Unix socket (default: %(default)s, this machine "
        "only)",
    )
    add(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help="port; 0 takes a free one and prints it (default: %(default)s)",
    )
    add("--tls-certificate", type=Path, metavar="PEM", help="the server's certificate chain")
    add("--tls-key", type=Path, metavar="PEM", help="its key")
    add("--tls-client-ca", type=Path, metavar="PEM", help="clients must have a certificate by it")
    add("--token-file", type=Path, metavar="FILE", help="bearer tokens that clients must show")
    add(
        "--insecure",
        action="store_true",
        help="take calls from other machines without TLS, where something in front encrypts",
    )


def _add_capacity(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("capacity")
    capacity, batch, whole = CapacityOptions(), BatchOptions(), ServerOptions()
    stream = StreamOptions()
    numbers: list[tuple[str, type, object, str, str]] = [
        ("--running", int, capacity.running, "C", "calls that work at a time"),
        ("--waiting", int, capacity.waiting, "Q", "further calls taken in; the next is refused"),
        (
            "--memory-mark",
            int,
            None,
            "MIB",
            "refuse calls above it (default: 80%% of all; 0: none)",
        ),
        ("--idle-seconds", float, capacity.idle_seconds, "S", "end uploads that stall as long"),
        ("--audio-processes", int, capacity.audio_processes, "N", "processes that decode audio"),
        ("--search-threads", int, capacity.search_threads, "N", "threads that decode text"),
        ("--parallel-batches", int, None, "N", "at a time (default: processors and one; cuda: 1)"),
        ("--batch-seconds", float, batch.batch_seconds, "S", "audio in one batch"),
        ("--batch-wait", float, batch.wait_seconds, "S", "wait for calls on their way"),
        ("--streams", int, stream.streams, "N", "live streams at a time; the next is refused"),
        ("--grace-seconds", float, whole.grace_seconds, "S", "how long a stop waits for calls"),
    ]
    for name, kind, default, metavar, text in numbers:
        suffix = "" if default is None else " (default: %(default)s)"
        group.add_argument(name, type=kind, default=default, metavar=metavar, help=text + suffix)


def _add_watching(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("watching")
    add = group.add_argument
    default = ServerOptions()
    add("--metrics-port", type=int, metavar="PORT", help="serve Prometheus metrics there by HTTP")
    add("--metrics-host", default=default.metrics_host, help="(default: %(default)s)")
    add("--tracing", action="store_true", help="send spans by OpenTelemetry; OTEL_* say where to")
    add_log_options(group, "call")


def _source(options: Namespace) -> ModelSource:
    if options.model_repository is None:
        if options.default_model is not None:
            raise ConfigError(
                "a default model is chosen of several, and --model serves one",
                remedy="leave --default-model out, or give --model-repository",
            )
        return SingleBundle(options.model or shipped_bundle())
    return Repository(options.model_repository, options.default_model)


def _server_options(options: Namespace) -> ServerOptions:
    return ServerOptions(
        listen=ListenOptions(
            host=options.host,
            port=options.port,
            insecure=options.insecure,
            certificate=options.tls_certificate,
            key=options.tls_key,
            client_ca=options.tls_client_ca,
            token_file=options.token_file,
        ),
        capacity=CapacityOptions(
            running=options.running,
            waiting=options.waiting,
            memory_mark=None if options.memory_mark is None else options.memory_mark * MIB,
            idle_seconds=options.idle_seconds,
            audio_processes=options.audio_processes,
            search_threads=options.search_threads,
        ),
        batch=BatchOptions(_parallel(options), options.batch_seconds, options.batch_wait),
        stream=StreamOptions(streams=options.streams),
        grace_seconds=options.grace_seconds,
        metrics_host=options.metrics_host,
        metrics_port=options.metrics_port,
        tracing=options.tracing,
    )


def _parallel(options: Namespace) -> int:
    if options.parallel_batches is not None:
        return int(options.parallel_batches)
    return BatchOptions().parallel if options.device == "cpu" else 1


async def _serve_until_signal(source: ModelSource, options: Namespace, inbox: SignalInbox) -> bool:
    signals = Signals()
    inbox.deliver(asyncio.get_running_loop(), signals.stop.set, signals.reload.set)
    chosen, gate = _server_options(options), Gate(options.silence_gate, options.min_confidence)
    torch.set_num_threads(max(1, processors() // chosen.batch.parallel))
    return await serve(
        source,
        lambda path: Recognizer.load(
            path, options.device, backend=options.backend, limits=LIMITS, gate=gate
        ),
        chosen,
        signals,
        _announce,
    )


def _announce(address: str) -> None:
    try:
        print(f"listening on {address}", flush=True)
    except OSError as error:
        # Whoever started it waits for the address, and would wait for good.
        raise ConfigError(
            f"the address cannot be written to standard output: {error.strerror}",
            remedy="free its disk, or send it to another file or to /dev/null",
        ) from None
