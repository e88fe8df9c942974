"""Compiled code is never stale, works where nothing can be kept, and is not loaded without need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import asr.compiled
from asr.compiled import compiled

ROOT = Path(__file__).parents[2]
CALLED = """
from asr.compiled import compiled
from asr.constants import STEP

@compiled
def add(x):
    return x + STEP
"""
CALLER = """
from asr.called import add
from asr.compiled import compiled

@compiled
def twice(x):
    return add(add(x))
"""
SHOW = """
from asr.caller import twice
print(twice(0), sum(twice.stats.cache_hits.values()))
"""


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


@pytest.fixture
def package(tmp_path):
    """A package with a compiled function that calls one of another file."""
    folder = tmp_path / "tree" / "asr"
    folder.mkdir(parents=True)
    shutil.copy(asr.compiled.__file__, folder)
    for name, text in (("constants", "STEP = 1\n"), ("called", CALLED), ("caller", CALLER)):
        (folder / f"{name}.py").write_text(text)
    (folder / "__init__.py").touch()
    return folder


def run(package: Path, **variables: object) -> list[int]:
    """What the compiled function gives, and how often its code was found."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "PYTHONPATH")}
    given = {name: str(value) for name, value in variables.items()}
    code = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n{SHOW}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **given},
        cwd=package.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    return [int(word) for word in done.stdout.split()]


def test_a_change_in_another_file_changes_the_result(package):
    assert run(package) == [2, 0]
    assert run(package) == [2, 1]  # the code of before
    (package / "called.py").write_text(CALLED.replace("x + STEP", "x - STEP"))
    assert run(package) == [-2, 0]
    (package / "constants.py").write_text("STEP = 5\n")  # it has no compiled function itself
    assert run(package) == [-10, 0]


def test_old_code_goes_and_nothing_else_does(package, tmp_path):
    cache = tmp_path / "cache"
    others = {
        cache / name for name in ("asr-notes", "peephole-asr-data", f"peephole-asr-{'0' * 17}")
    }
    for folder in others:
        folder.mkdir(parents=True)
    old = cache / f"peephole-asr-{'0' * 16}"
    old.mkdir()
    os.utime(old, (0, 0))
    for step in range(3):
        (package / "constants.py").write_text(f"STEP = {step}\n")
        assert run(package, NUMBA_CACHE_DIR=cache) == [2 * step, 0]
    assert not old.exists()
    assert others < set(cache.iterdir())
    assert len(set(cache.iterdir()) - others) == 3


def test_code_that_was_compiled_elsewhere_is_found(package, tmp_path):
    """As in the image, which is built with one folder and starts with a copy of it."""
    built, copied = tmp_path / "built", tmp_path / "copied"
    run(package, NUMBA_CACHE_DIR=built)
    subprocess.run(["cp", "-r", f"{built}/.", str(copied)], check=True)
    assert run(package, NUMBA_CACHE_DIR=copied) == [2, 1]


def test_where_nothing_can_be_written_it_is_compiled_in_each_process(package):
    blocked = package.parent / "file"
    blocked.touch()
    (package / "__pycache__").touch()
    nowhere = {"NUMBA_CACHE_DIR": blocked / "a", "XDG_CACHE_HOME": blocked / "b"}
    assert run(package, **nowhere) == [2, 0]
