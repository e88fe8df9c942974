"""Compiling works where nothing can be kept, and costs nothing where it is not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asr.compiled import compiled

ROOT = Path(__file__).parents[3]


def test_a_function_without_a_place_for_its_code_is_compiled_all_the_same():
    names: dict[str, object] = {}
    exec("def twice(x):\n    return 2 * x", names)  # of no file, so there is none to write beside
    twice = compiled(names["twice"])
    assert twice(21) == 42
    assert twice.signatures


@pytest.mark.parametrize("module", ["asr.cli.main", "asr.recognizer", "asr.lm.kneser_ney"])
def test_what_compiles_nothing_does_not_import_the_compiler(module):
    code = f"import sys, {module}; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
