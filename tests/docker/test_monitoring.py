"""Prometheus and its dashboard ask for what the server counts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from server.telemetry.metrics import Metrics

DOCKER = Path(__file__).parents[2] / "docker"


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads((DOCKER / "monitoring" / "dashboard.json").read_text())
    return board


def test_the_dashboard_asks_for_what_the_server_counts():
    served = {
        line.split()[2]
        for line in generate_latest(Metrics().registry).decode().splitlines()
        if line.startswith("# TYPE ")
    }
    parts = {name + suffix for name in served for suffix in ("_bucket", "_sum", "_count")}
    text = json.dumps(dashboard())
    asked = set(re.findall(r"\basr_\w+", text))
    assert len(asked) > 10
    assert asked - served - parts == set()
    live = {name for name in served if re.match("asr_live_(?!.*_created$)", name)}
    assert len(live) == 6
    assert {name for name in live if not any(each.startswith(name) for each in asked)} == set()


def test_prometheus_parses_the_dashboard(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    rules = [
        {"record": f"panel:{panel['id']}:{target['refId']}", "expr": plain(target["expr"])}
        for panel in dashboard()["panels"]
        for target in panel["targets"]
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    for command in (
        ["check", "rules", str(file)],
        ["check", "config", str(DOCKER / "monitoring" / "prometheus.yml")],
    ):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def plain(expression: str) -> str:
    """``expression`` with Grafana's variables filled in."""
    return expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
