"""What the recipes' tests share: a toy corpus."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from recipes.common.cli import prepare


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """The module ``toy.py``."""
    spec = importlib.util.spec_from_file_location("toy", Path(__file__).with_name("toy.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["toy"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def toy_data(toy, tmp_path_factory) -> Path:
    """The toy corpus, prepared; the corpus itself lies beside it. Not to be changed."""
    folder = tmp_path_factory.mktemp("toy")
    prepare(toy.recipe(), folder / "corpus", folder / "data")
    return folder / "data"
