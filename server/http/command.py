"""The options of ``asr-gateway``, and the gateway that they describe."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from asr import __version__
from server.client import DEFAULT_ADDRESS, DEFAULT_TIMEOUT, Security, read_token
from server.http.options import DEFAULT_PORT, GatewayOptions
from server.http.serving import serve
from server.options import ListenOptions
from server.signals import SignalInbox
from server.telemetry.logs import add_log_options, setup_logging

__all__ = ["run"]


def run(arguments: Sequence[str] | None, inbox: SignalInbox) -> int:
    """Serve as ``arguments`` say, until ``inbox`` has a stop.

    Raises:
        AsrError, ClientError: the gateway cannot start.
    """
    options = _parser().parse_args(arguments)
    setup_logging(options.log_format, options.log_level)
    asyncio.run(_serve(_options(options), inbox))
    return 0


async def _serve(options: GatewayOptions, inbox: SignalInbox) -> None:
    stop, reload = asyncio.Event(), asyncio.Event()
    inbox.deliver(asyncio.get_running_loop(), stop.set, reload.set)
    await serve(options, stop, reload, lambda url: print(f"listening on {url}", flush=True))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="asr-gateway",
        description="Answer OpenAI's clients and WebSockets by an asr-server. SIGTERM and SIGINT "
        "let requests finish; SIGHUP reads keys and certificates again. docs/gateway.md tells the "
        "rest.",
    )
    parser.add_argument("--version", action="version", version=f"peephole-asr {__version__}")
    _add_server(parser)
    _add_listening(parser)
    _add_capacity(parser)
    return parser


def _add_server(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("server").add_argument
    add(
        "--server",
        default=DEFAULT_ADDRESS,
        metavar="ADDRESS",
        help="host:port of asr-server, unix:PATH, or dns:///host:port for several in turn "
        "(default: %(default)s)",
    )
    add("--server-tls", action="store_true", help="TLS, with a certificate of a public authority")
    add("--server-ca", metavar="PEM", help="TLS, with a certificate of this authority")
    add("--server-certificate", metavar="PEM", help="the gateway's own, where the server wants one")
    add("--server-key", metavar="PEM", help="its private key")
    add("--server-token-file", metavar="FILE", help="file with the bearer token to send")
    add(
        "--server-token-over-plaintext",
        action="store_true",
        help="send the token without TLS to another machine, where others may read it",
    )
    add(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT,
        metavar="S",
        help="how long one request may take there, in seconds (default: %(default)g)",
    )
    add(
        "--language",
        default=GatewayOptions.language,
        metavar="CODE",
        help="what the models know, as ISO 639-1 has it (default: %(default)s)",
    )


def _add_listening(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("listening").add_argument
    add(
        "--host",
        default=ListenOptions().host,
        help="name or address (default: %(default)s, this machine only)",
    )
    add(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help="port; 0 takes a free one and prints it (default: %(default)s)",
    )
    add("--tls-certificate", type=Path, metavar="PEM", help="the gateway's certificate chain")
    add("--tls-key", type=Path, metavar="PEM", help="its key")
    add("--api-keys", type=Path, metavar="FILE", help="keys that clients must show, one a line")
    add(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="pages of this site may ask too, https://example.org for one; may be repeated",
    )
    add(
        "--insecure",
        action="store_true",
        help="take requests from other machines without TLS, where something in front encrypts",
    )


def _add_capacity(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("capacity and log")
    default = GatewayOptions()
    numbers: list[tuple[str, type, object, str, str]] = [
        ("--requests", int, default.requests, "N", "transcriptions at a time"),
        ("--sockets", int, default.sockets, "N", "WebSockets at a time"),
        ("--idle-seconds", float, default.idle_seconds, "S", "end uploads that stall as long"),
        ("--grace-seconds", float, default.grace_seconds, "S", "how long a stop waits"),
    ]
    for name, kind, value, metavar, text in numbers:
        help = f"{text} (default: %(default)s)"
        group.add_argument(name, type=kind, default=value, metavar=metavar, help=help)
    group.add_argument(
        "--metrics-port", type=int, metavar="PORT", help="serve Prometheus metrics there by HTTP"
    )
    group.add_argument(
        "--metrics-host",
        default=default.metrics_host,
        metavar="HOST",
        help="address of the metrics, which need no key (default: %(default)s)",
    )
    add_log_options(group, "request")


def _options(options: Namespace) -> GatewayOptions:
    token = options.server_token_file
    return GatewayOptions(
        listen=ListenOptions(
            host=options.host,
            port=options.port,
            insecure=options.insecure,
            certificate=options.tls_certificate,
            key=options.tls_key,
            token_file=options.api_keys,
        ),
        address=options.server,
        security=Security(
            tls=options.server_tls,
            ca=options.server_ca,
            certificate=options.server_certificate,
            key=options.server_key,
            token=None if token is None else read_token(token),
            token_over_plaintext=options.server_token_over_plaintext,
        ),
        timeout=options.timeout,
        language=options.language,
        requests=options.requests,
        sockets=options.sockets,
        idle_seconds=options.idle_seconds,
        grace_seconds=options.grace_seconds,
        origins=tuple(options.allow_origin),
        metrics_host=options.metrics_host,
        metrics_port=options.metrics_port,
    )
