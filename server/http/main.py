"""The ``asr-gateway`` command: listens to signals first, then imports what only some have."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from server.signals import SignalInbox

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gateway; returns the exit status: 0: stopped by a signal, 2: it could not start."""
    with SignalInbox() as inbox:
        from asr.cli.terminal import run_command
        from asr.extras import import_extra
        from asr.types import AsrError
        from server.client import ClientError

        def command() -> int:
            for package in ("starlette", "uvicorn", "python_multipart", "websockets"):
                import_extra(package, "http", "gateways")
            from server.http.command import run

            return run(arguments, inbox)

        return run_command("asr-gateway", command, errors=(AsrError, ClientError))


if __name__ == "__main__":
    sys.exit(main())
