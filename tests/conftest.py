"""What all tests share: where real speech lies, if it is there; rubbish; Triton without a GPU."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest
import torch

# The same examples in every run, so that a change is to blame for what fails; `pytest
# --hypothesis-profile default` looks for new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")

if not torch.cuda.is_available():
    # In its interpreter. It has to be told before anything imports it, and torch's compiler does.
    os.environ["TRITON_INTERPRET"] = "1"

# gRPC, which tests of the server bring, would have its word at each fork that another test makes.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

# Servers of tests are on this machine, to which no proxy leads.
for scheme in ("http", "https", "all", "grpc"):
    os.environ.pop(f"{scheme}_proxy", None)
    os.environ.pop(f"{scheme}_proxy".upper(), None)

SHARED = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Return the folder of a corpus beside the checkout, or skip the test."""

    def find(name: str) -> Path:
        folder = SHARED / name
        if not folder.is_dir():
            pytest.skip(f"the corpus {name} is not at {folder}")
        return folder

    return find


@pytest.fixture(scope="session")
def rubbish() -> ModuleType:
    """The module ``rubbish.py``: invalid payloads, mutants of valid files, silence that grows."""
    spec = importlib.util.spec_from_file_location("rubbish", Path(__file__).with_name("rubbish.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["rubbish"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sctk() -> Callable[..., str]:
    """Runs a tool of NIST's SCTK (Debian's package sctk) and returns what it prints."""
    folders = os.pathsep.join([os.environ.get("PATH", ""), "/usr/lib/sctk/bin"])
    if shutil.which("sclite", path=folders) is None:
        pytest.skip("NIST's sclite is not installed (Debian's package sctk)")

    def run(tool: str, *arguments: object, given: str | None = None) -> str:
        program = shutil.which(tool, path=folders)
        assert program is not None
        command = [program, *map(str, arguments)]
        # It writes names and texts as they came.
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout

    return run
