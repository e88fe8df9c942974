"""What the recipes' tests share: a toy corpus."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from recipes.common.cli import main, prepare


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


@pytest.fixture(scope="module")
def data(toy_data) -> Path:
    """What is evaluated; modules may have data of their own."""
    return toy_data


@pytest.fixture(scope="module")
def run(toy, data, tmp_path_factory) -> Path:
    """A run's folder, with a checkpoint of a net that was not trained."""
    folder = tmp_path_factory.mktemp("untrained") / "run"
    (folder / "checkpoints").mkdir(parents=True)
    toy.checkpoint(data, folder / "checkpoints" / "best.ckpt")
    return folder


@pytest.fixture
def evaluated(toy, data, run, tmp_path, capsys):
    """Evaluates ``run`` into ``tmp_path`` and returns what was printed."""

    def evaluate(*options, code=0):
        where = ["--run", str(run), "--data", str(data), "--backend", "torch"]
        results = [] if "--output" in options else ["--results", str(tmp_path)]
        capsys.readouterr()
        assert main(toy.recipe(), ["evaluate", *where, *results, *map(str, options)]) == code
        told = capsys.readouterr()
        return told.err if code else told.out

    return evaluate
