"""``python -m recipes.demo --open``: speak to the model that ships, in a browser."""

from __future__ import annotations

import threading
import webbrowser
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from asr.bundle.shipped import shipped_bundle
from recipes.demo.processes import gateway, server

__all__ = ["PORT", "open_page"]

PORT = 8080  # asr-gateway's own


def open_page(folder: Path, port: int = PORT) -> None:
    """Serve the model that ships and the gateway's page, and open it, until Ctrl-C.

    Raises:
        AsrError: no model has come with this installation, or a program does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bundle = shipped_bundle()
    console = Console()
    with (
        server(bundle, folder / "shipped.log") as address,
        gateway(address, port, folder / "gateway.log") as url,
    ):
        console.print(
            f"the page is at {url}/; logs are in {folder}; Ctrl-C ends it", soft_wrap=True
        )
        webbrowser.open(f"{url}/")  # where there is no browser, the address is enough
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
