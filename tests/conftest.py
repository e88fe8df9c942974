"""Where real speech for tests lies, if it is there, and how Triton's kernels run without a GPU."""

import os
from collections.abc import Callable
from pathlib import Path

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
