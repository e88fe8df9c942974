"""A headless Chromium, driven by its DevTools protocol over one WebSocket."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root, and open their own pages only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-port=0",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--window-size=1000,1100",
)
PATIENCE = 60.0


class Tab:
    """The only tab of a browser. ``problems`` are errors of its script and of the policy."""

    def __init__(self, url: str) -> None:
        self._socket = connect(url, max_size=None, open_timeout=PATIENCE)
        self._count = 0
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self._socket.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE))
            self._note(message)
            if message.get("id") == self._count:
                assert "error" not in message, (method, message["error"])
                return message["result"]

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        if message.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(parameters["entry"]["text"])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({url!r}) && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = PATIENCE) -> None:
        """Until ``condition`` holds."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, (condition, self.problems, self.text())
            time.sleep(0.05)

    def text(self) -> str:
        """What is to be read on the page."""
        return self.run("document.body.innerText")

    def press(self, key: str) -> None:
        """A key of the keyboard, where the focus is."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        text = {"Enter": "\r", " ": " "}.get(key, "")
        values = {"key": key, "windowsVirtualKeyCode": codes[key], "text": text}
        self.call("Input.dispatchKeyEvent", type="keyDown", **values)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def choose_file(self, selector: str, path: Path) -> None:
        """As somebody does in the dialogue of a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def prefer(self, scheme: str) -> None:
        """``"light"`` or ``"dark"``."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def picture(self) -> bytes:
        """The whole page as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])


def find_chromium() -> str:
    """Where it is installed, or skip the test."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium is installed (Debian's package chromium)")


@contextmanager
def browse(folder: Path, *options: str) -> Iterator[Tab]:
    """A browser with its own profile in ``folder``."""
    command = [find_chromium(), *OPTIONS, f"--user-data-dir={folder}", *options, "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        tab = Tab(_tab_address(folder, process))
        try:
            yield tab
        finally:
            tab.close()
    finally:
        process.terminate()
        process.wait(timeout=30)


def _tab_address(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the first tab listens: the browser writes its port into its profile."""
    import urllib.request

    port = folder / "DevToolsActivePort"
    end = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, "the browser has ended"
        assert time.monotonic() < end, "the browser does not start"
        if port.is_file() and len(lines := port.read_text().splitlines()) == 2:
            url = f"http://127.0.0.1:{lines[0]}/json/list"
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
            if tabs:
                return tabs[0]["webSocketDebuggerUrl"]
        time.sleep(0.05)
