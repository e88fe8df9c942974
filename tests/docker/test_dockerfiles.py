"""The recipes of the images: clean, and in agreement with the server's command line."""

from __future__ import annotations

import json
import os
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
    [exposed] = re.findall(r"^EXPOSE (.*)", text, re.MULTILINE)
    assert {str(DEFAULT_PORT), str(options.metrics_port)} <= set(exposed.split())


@pytest.fixture
def start(tmp_path):
    """`start.sh` with a program in the server's place that prints its arguments."""
    server = tmp_path / "bin" / "asr-server"
    server.parent.mkdir()
    server.write_text('#!/bin/sh\necho "$@"\n')
    server.chmod(0o755)
    model = tmp_path / "default"

    def run(*arguments):
        environment = {
            "PATH": f"{server.parent}:{os.environ['PATH']}",
            "NUMBA_CACHE_DIR": str(tmp_path),
            "DEFAULT_MODEL": str(model),
        }
        command = ["sh", str(DOCKER / "start.sh"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    return run, model


def test_an_image_without_a_bundle_of_its_own_serves_the_model_that_ships(start):
    run, _ = start
    assert run("--insecure") == ["--insecure"]  # the server looks for it


def test_a_bundle_that_is_mounted_goes_before_it(start):
    run, model = start
    model.mkdir()
    assert run("--insecure") == ["--model", str(model), "--insecure"]
    assert run("--model-repository", "/models") == ["--model-repository", "/models"]
    assert run("--model=/models/own") == ["--model=/models/own"]


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_the_images_take_the_models_along(name):
    assert "!models" in (DOCKER.parent / ".dockerignore").read_text().splitlines()
    before, _, after = (DOCKER / name).read_text().partition("COPY models models\n")
    assert "--no-deps ." not in before, "they are copied before the package is built"
    assert "--no-deps ." in after


def test_both_dockerfiles_take_the_same_torch():
    versions = [
        re.findall(r"^ARG TORCH_VERSION=(\S+)", (DOCKER / name).read_text(), re.MULTILINE)
        for name in ("Dockerfile", "Dockerfile.cuda")
    ]
    assert versions[0] == versions[1]
    assert len(versions[0]) == 1
