"""The files of Docker Compose: accepted, hardened, in agreement with the server."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.command import _parser
from server.options import ServerOptions

DOCKER = Path(__file__).parents[2] / "docker"


def compose(name: str) -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((DOCKER / name).read_text())["services"]
    return services


def test_compose_accepts_its_files(tmp_path):
    docker = shutil.which("docker")
    probe = [docker or "docker", "compose", "version"]
    if docker is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    for more in ([], ["compose.tls.yaml"], ["compose.keys.yaml"]):
        files = ["compose.yaml", *more]
        command = [docker, "compose"]
        command += [part for file in files for part in ("-f", str(DOCKER / file))]
        done = subprocess.run(
            [*command, "--profile", "*", "config", "-q"],
            env={"TLS": str(tmp_path), "KEYS": __file__, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_services_of_compose_are_hardened_and_local():
    for name, service in compose("compose.yaml").items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        for port in service.get("ports", []):
            assert re.match(r"(127\.0\.0\.1|\$\{LISTEN(_GATEWAY)?:-127\.0\.0\.1\}):", port), name


def test_the_server_understands_what_compose_tells_it():
    gpu = _parser().parse_args(compose("compose.yaml")["server-gpu"]["command"])
    assert gpu.device == "cuda"
    tls = _parser().parse_args(compose("compose.tls.yaml")["server"]["command"])
    assert not tls.insecure
    stop = compose("compose.yaml")["server"]["stop_grace_period"]
    assert float(stop.removesuffix("s")) > ServerOptions().grace_seconds


def test_what_compose_mounts_from_docker_exists():
    for service in compose("compose.yaml").values():
        for volume in service.get("volumes", []):
            if isinstance(volume, str) and volume.startswith("./"):
                assert (DOCKER / volume.partition(":")[0]).is_file()
