"""Every benchmark can be started."""

import importlib
from pathlib import Path

import pytest

import benchmarks

MODULES = sorted(path.stem for path in Path(benchmarks.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_its_imports_are_there(module):
    importlib.import_module(f"benchmarks.{module}")
