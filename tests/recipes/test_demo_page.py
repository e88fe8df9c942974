"""``python -m recipes.demo --open``: a page at an address, until Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra http is not installed")
pytest.importorskip("uvicorn", reason="the extra http is not installed")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_page_is_there_until_ctrl_c(tmp_path):
    opened = tmp_path / "opened"
    browser = tmp_path / "browser.sh"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "recipes.demo", "--open", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "BROWSER": f"{browser} %s"},
    )
    try:
        line = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/", line).group()
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert b"Start the microphone" in answer.read()
        with urllib.request.urlopen(f"{url}v1/models", timeout=60) as answer:
            assert b"english" in answer.read()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert opened.read_text().strip() == url
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=60)
