"""What Prometheus asks of a gateway: every door, every outcome, and nothing that clients choose."""

from __future__ import annotations

import json
import logging
import re
import time
import urllib.request
from contextlib import suppress
from urllib.error import HTTPError

import pytest

pytest.importorskip("uvicorn", reason="the extra http is not installed")
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from server.http.metrics import door_of


@pytest.fixture
def watched(gateway_to, fake, caplog):
    """A gateway, and what is counted there: ``sample("asr_gateway_…", door=…)``."""
    with (
        caplog.at_level(logging.INFO),
        gateway_to(fake.address, metrics_port=0, sockets=1) as gateway,
    ):
        [address] = re.findall(r"metrics at (\S+)", caplog.text)

        def sample(name: str, **labels: str) -> float | None:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as page:
                text = page.read().decode()
            found = [
                one.value
                for family in text_string_to_metric_families(text)
                for one in family.samples
                if one.name == name and labels.items() <= one.labels.items()
            ]
            return sum(found) if found else None

        yield gateway, sample


def ask(url: str, data: bytes | None = None) -> None:
    with suppress(HTTPError):
        urllib.request.urlopen(urllib.request.Request(url, data), timeout=30).read()


def counted(sample, door: str, status: int) -> float | None:
    return sample("asr_gateway_requests_total", door=door, status=str(status))


def wait_for_ends(sample) -> None:
    """A client hears of its session's end a moment before that is counted."""
    latest = time.monotonic() + 30
    while sample("asr_gateway_requests_in_progress", door="live"):
        assert time.monotonic() < latest


def test_requests_are_counted_by_door_and_status(watched):
    gateway, sample = watched
    assert counted(sample, "transcriptions", 200) == 0  # there from the beginning
    for path in ("/v1/models", "/v1/models/none", "/healthz", "/", "/%2e%2e/secret", "/a", "/b"):
        ask(gateway.url + path)
    ask(gateway.url + "/v1/audio/transcriptions", b"no form")
    assert counted(sample, "models", 200) == 1
    assert counted(sample, "models", 404) == 1
    assert counted(sample, "health", 200) == 1
    assert counted(sample, "page", 200) == 1
    assert counted(sample, "other", 404) == 3
    assert counted(sample, "transcriptions", 415) == 1
    assert sample("asr_gateway_request_seconds_count", door="other") == 3
    assert sample("asr_gateway_requests_in_progress") == 0


def test_sessions_are_counted_while_they_last_and_by_their_end(watched):
    gateway, sample = watched
    with connect(gateway.socket) as socket:
        assert sample("asr_gateway_requests_in_progress", door="live") == 1
        with pytest.raises(InvalidStatus), connect(gateway.socket):
            pass
        assert counted(sample, "live", 429) == 1
        socket.send(json.dumps({"eof": 1}))
        assert json.loads(socket.recv(timeout=30)) == {"text": ""}
        socket.close()
    wait_for_ends(sample)
    with connect(gateway.socket) as socket:
        socket.send("no JSON")
        socket.recv(timeout=30)
    wait_for_ends(sample)
    assert counted(sample, "live", 1000) == 1
    assert counted(sample, "live", 1008) == 1


def test_no_code_of_a_client_makes_a_series_of_its_own(watched):
    gateway, sample = watched
    for code in (3000, 4711):
        with connect(gateway.socket) as socket:
            socket.close(code)
        wait_for_ends(sample)
    assert counted(sample, "live", "other") == 2
    assert counted(sample, "live", 3000) is None


def test_no_path_makes_a_door_of_its_own():
    assert {door_of(path) for path in ("", "/x", "//", "/pages", "/v2", "/v1", "/healthz")} == {
        "other",
        "health",
    }
