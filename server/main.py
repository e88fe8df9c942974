"""The ``asr-server`` command: listens to signals first, then imports what is slow."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from server.signals import SignalInbox

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; returns the exit status.

    0: stopped by a signal, every accepted call answered. 1: calls were cut off at the end of the
    grace time. 2: it could not start.
    """
    with SignalInbox() as inbox:
        from asr.cli.terminal import run_command
        from asr.spinning import spin_little

        spin_little()
        from server.command import run  # torch alone takes seconds

        return run_command("asr-server", lambda: run(arguments, inbox))


if __name__ == "__main__":
    sys.exit(main())
