"""The recipes of the images: clean, and in agreement with the server's command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from server.command import _parser
from server.limits import DEFAULT_PORT
from server.signals import SIGNALS

DOCKER = Path(__file__).parents[2] / "docker"


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_hadolint_has_no_complaint(name):
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed: there is no wheel of it for this machine")
    # DL3008: versions of Debian's packages are those of the base's release.
    command = [str(hadolint), "--ignore", "DL3008", str(DOCKER / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_the_commands_of_the_images_are_the_servers(name):
    text = (DOCKER / name).read_text()
    (entry,) = re.findall(r"^ENTRYPOINT (\[.*\])", text, re.MULTILINE)
    command = re.findall(r"^CMD (\[.*\])", text, re.MULTILINE)[-1]
    *programs, script = json.loads(entry)[:3]
    options = _parser().parse_args([*json.loads(entry)[3:], *json.loads(command)])
    assert (programs, script) == (["env", "--block-signal=HUP,INT,TERM"], "start.sh")
    blocked = {f"SIG{name}" for name in programs[1].partition("=")[2].split(",")}
    assert blocked == {number.name for number in SIGNALS}, "all that the server listens to"
    assert (options.host, options.port, options.insecure) == ("0.0.0.0", DEFAULT_PORT, True)
    assert f"EXPOSE {DEFAULT_PORT} {options.metrics_port}" in text


def test_both_dockerfiles_take_the_same_torch():
    versions = [
        re.findall(r"^ARG TORCH_VERSION=(\S+)", (DOCKER / name).read_text(), re.MULTILINE)
        for name in ("Dockerfile", "Dockerfile.cuda")
    ]
    assert versions[0] == versions[1]
    assert len(versions[0]) == 1
