"""Asks a server for its health: ``python -m server.probe``, for containers that watch themselves.

It imports grpc and next to nothing of ours, because it runs every few seconds.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from server.addresses import AddressError, dialled
from server.limits import DEFAULT_PORT, MOST_SECONDS

__all__ = ["main"]

VARIABLE = "ASR_PROBE"
UNHEALTHY = 1  # what Docker reads as unhealthy; Kubernetes takes anything but 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the probe; returns the exit status: 0 if the server is SERVING, else 1 and one line.

    Wrong options end it with 2, as they do everywhere. Those that the environment variable
    ``ASR_PROBE`` holds come before ``arguments``: so the health check of an image hears of TLS.
    """
    try:
        given = sys.argv[1:] if arguments is None else arguments
        parser = _parser()
        options = parser.parse_args([*shlex.split(os.environ.get(VARIABLE, "")), *given])
        if (options.key is None) != (options.certificate is None):
            parser.error("--certificate and --key go together")
        if not 0 < options.timeout <= MOST_SECONDS:
            parser.error(f"--timeout is {options.timeout:g} (give 0 to {MOST_SECONDS})")
        status = _ask(options)
    except (OSError, ValueError) as error:  # a file that cannot be read; quotes that do not close
        return _complain(error)
    except grpc.RpcError as error:
        return _complain(f"{options.address}: {error.code().name}: {error.details()}")
    if status != HealthCheckResponse.SERVING:
        name = HealthCheckResponse.ServingStatus.Name(status)
        return _complain(f"{options.address} is {name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server.probe",
        description="Exit with 0 if an asr-server can transcribe, with 1 if not. "
        f"More options may stand in the environment variable {VARIABLE}.",
    )
    add = parser.add_argument
    add(
        "--address",
        type=_address,
        default=f"127.0.0.1:{DEFAULT_PORT}",
        help="host:port, or unix:PATH for a Unix socket (default: %(default)s)",
    )
    add("--service", default="", help="the service to ask for (default: the server as a whole)")
    add("--timeout", type=float, default=3.0, metavar="S", help="seconds (default: %(default)g)")
    add("--ca", type=Path, metavar="PEM", help="speak TLS; this signed the server's certificate")
    add("--certificate", type=Path, metavar="PEM", help="the probe's own, where clients need one")
    add("--key", type=Path, metavar="PEM", help="its key")
    add("--server-name", metavar="NAME", help="in the server's certificate, if not the address")
    return parser


def _address(text: str) -> str:
    try:
        return dialled(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _ask(options: argparse.Namespace) -> int:
    request = HealthCheckRequest(service=options.service)
    with _channel(options) as channel:
        response = HealthStub(channel).Check(request, timeout=options.timeout)
    return int(response.status)


def _channel(options: argparse.Namespace) -> grpc.Channel:
    # The server itself is asked. A proxy that the environment names would answer for others.
    arguments: list[tuple[str, object]] = [("grpc.enable_http_proxy", 0)]
    if options.ca is None:
        return grpc.insecure_channel(options.address, arguments)
    credentials = grpc.ssl_channel_credentials(
        options.ca.read_bytes(),
        options.key and options.key.read_bytes(),
        options.certificate and options.certificate.read_bytes(),
    )
    if options.server_name:
        arguments.append(("grpc.ssl_target_name_override", options.server_name))
    return grpc.secure_channel(options.address, credentials, arguments)


def _complain(message: object) -> int:
    print(f"unhealthy: {' '.join(str(message).split())}", file=sys.stderr)
    return UNHEALTHY


if __name__ == "__main__":
    sys.exit(main())
