"""Programs that run beside the demonstration, while it lasts."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asr.types import AsrError

__all__ = ["gateway", "server"]


@contextmanager
def server(bundle: Path, log: Path) -> Iterator[str]:
    """`asr-server` of ``bundle`` on a free port, its log in a file; gives its address.

    Raises:
        AsrError: it does not start, or does not stop cleanly.
    """
    with _running("asr-server", "server.main", ["--model", str(bundle), "--port", "0"], log) as at:
        yield at


@contextmanager
def gateway(address: str, port: int, log: Path) -> Iterator[str]:
    """`asr-gateway` before the server at ``address``; gives its URL.

    Raises:
        AsrError: see :func:`server`.
    """
    arguments = ["--server", address, "--port", str(port)]
    with _running("asr-gateway", "server.http.main", arguments, log) as url:
        yield url


@contextmanager
def _running(name: str, module: str, arguments: list[str], log: Path) -> Iterator[str]:
    """Start a program that says where it listens; stop it by SIGTERM at the end."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demonstration, which stops the others
        )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if match := re.search(r"listening on (\S+)", line):
                break
        else:
            raise AsrError(
                f"{name} ended with exit code {process.wait()}: {_last_line(log)}", where=str(log)
            )
        yield match.group(1)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)
        process.stdout.close()
    if code != 0:
        raise AsrError(f"{name} stopped with exit code {code}: {_last_line(log)}", where=str(log))


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it left no message"
