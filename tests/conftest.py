"""What all tests share: where real speech lies, if it is there; rubbish; Triton without a GPU."""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

if not torch.cuda.is_available():
    # In its interpreter. It has to be told before anything imports it, and torch's compiler does.
    os.environ["TRITON_INTERPRET"] = "1"

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
