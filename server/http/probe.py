"""Asks a gateway for its health: ``python -m server.http.probe``, for containers.

It imports nothing of ours, because it runs every few seconds, and takes no proxy.
"""

from __future__ import annotations

import argparse
import http.client
import ssl
import sys
from collections.abc import Sequence

__all__ = ["main"]

UNHEALTHY = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the probe; returns 0 if gateway and server answer, else 1, and says why in one line."""
    options = _parser().parse_args(arguments)
    try:
        status, text = _ask(options)
    except (OSError, ValueError, http.client.HTTPException) as error:  # also no name of a host
        return _complain(f"{options.host}:{options.port}: {error or type(error).__name__}")
    return 0 if status == 200 else _complain(f"{status}: {text[:500]}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server.http.probe",
        description="Exit with 0 if an asr-gateway and the server behind it answer, with 1 if not.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="name or address (default: %(default)s)")
    add("--port", type=int, default=8080, help="port (default: %(default)s)")
    add("--timeout", type=_seconds, default=4.0, metavar="S", help="seconds (default: %(default)g)")
    add("--ca", metavar="PEM", help="speak TLS; this signed the gateway's certificate")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0 to a million")
    return seconds


def _ask(options: argparse.Namespace) -> tuple[int, str]:
    where = (options.host, options.port)
    connection: http.client.HTTPConnection
    if options.ca is None:
        connection = http.client.HTTPConnection(*where, timeout=options.timeout)
    else:
        context = ssl.create_default_context(cafile=options.ca)
        connection = http.client.HTTPSConnection(*where, timeout=options.timeout, context=context)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status, answer.read(10_000).decode(errors="replace")
    finally:
        connection.close()


def _complain(message: object) -> int:
    print(f"unhealthy: {' '.join(str(message).split())}", file=sys.stderr)
    return UNHEALTHY


if __name__ == "__main__":
    sys.exit(main())
