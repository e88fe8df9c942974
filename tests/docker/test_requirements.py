"""What the images install: all that they need, and in the server nothing of training or tests."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

packaging = pytest.importorskip("packaging.requirements")

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="the images have Python 3.11 to 3.13"
)

ROOT = Path(__file__).parents[2]
LARGE = {"librosa", "scipy", "scikit-learn", "pytorch-lightning", "lhotse", "tensorboard", "pytest"}


def requirements(*extras: str) -> list[str]:
    """What ``docker/requirements.py`` prints."""
    script = [sys.executable, str(ROOT / "docker" / "requirements.py"), *extras]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def closure(lines: list[str]) -> set[str]:
    """The names of all packages that come along, as their metadata here say."""
    found: set[str] = set()
    waiting = [(packaging.Requirement(line), "") for line in lines]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in found:
            continue
        found.add(name)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # of another platform, or what CUDA's build of torch brings
        extras = ["", *requirement.extras]
        waiting += [(packaging.Requirement(need), extra) for need in needs for extra in extras]
    return found


def test_the_servers_image_has_nothing_large_that_it_does_not_use():
    names = closure(requirements("telemetry"))
    assert {"torch", "grpcio", "onnxruntime", "opentelemetry-sdk"} <= names
    assert names & LARGE == set()


def test_the_images_of_training_have_what_trains():
    assert {"pytorch-lightning", "lhotse"} <= closure(requirements("train"))
