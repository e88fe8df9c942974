"""The ``asr-server`` command."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence

from asr import __version__
from asr.backends import AUTO, BACKENDS
from asr.recognizer import Recognizer
from asr.types import AsrError
from server.lifecycle import ServerOptions, serve
from server.limits import DEFAULT_PORT

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; returns the exit status: 0 after a signal, 2 if it could not start."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        asyncio.run(_serve_until_signal(options))
    except AsrError as error:
        print(f"asr-server: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="asr-server",
        description="Transcribe speech over gRPC (proto/asr/v1). SIGTERM and SIGINT let accepted "
        "calls finish, a second signal does not.",
    )
    parser.add_argument("--version", action="version", version=f"peephole-asr {__version__}")
    parser.add_argument(
        "--model", required=True, metavar="BUNDLE", help="the model bundle, a folder"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=AUTO,
        help="what computes (default: onnx on cpu if it can run the model, else torch)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, this machine only; there is no "
        "encryption and no authentication)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help="port to listen on; 0 takes a free one and prints it (default: %(default)s)",
    )
    parser.add_argument(
        "--grace-seconds",
        type=float,
        default=60.0,
        metavar="S",
        help="how long a stop waits for accepted calls (default: %(default)g)",
    )
    return parser


async def _serve_until_signal(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)  # a second one ends the process

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await serve(
        lambda: Recognizer.load(options.model, options.device, backend=options.backend),
        ServerOptions(options.host, options.port, options.grace_seconds),
        stop,
        on_ready=lambda address: print(f"listening on {address}", flush=True),
    )


if __name__ == "__main__":
    sys.exit(main())
