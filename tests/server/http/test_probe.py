"""The probe of a gateway's container says what the gateway would say to clients."""

from __future__ import annotations

import pytest

pytest.importorskip("uvicorn", reason="the extra http is not installed")

from server.http.probe import main


def probe(url: str) -> int:
    return main(["--port", url.rpartition(":")[2]])


def test_gateway_and_server_answer(gateway, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # of nobody
    assert probe(gateway.url) == 0


def test_a_server_that_is_gone_is_unhealthy(gateway_to, capsys):
    with gateway_to("127.0.0.1:1") as gateway:
        assert probe(gateway.url) == 1
    assert capsys.readouterr().err.startswith("unhealthy: 503: ")


@pytest.mark.parametrize("seconds", ["nan", "-1", "1e300", "x"])
def test_a_time_that_is_none_is_refused(seconds, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--port", "1", "--timeout", seconds])
    assert ended.value.code == 2
    assert "--timeout" in capsys.readouterr().err.splitlines()[-1]


def test_a_gateway_that_is_gone_is_unhealthy(capsys):
    assert main(["--port", "1"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("unhealthy: 127.0.0.1:1: ")
