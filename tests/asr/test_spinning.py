"""Threads of OpenMP spin little in programs of ours, and as they did in others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOW = "import os, sys; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
COMMANDS = {
    "asr": "from asr.cli.main import main; main(['lm', 'nothing'])",
    "recipes": "import recipes",
}


def told(code: str, **variables: str) -> str:
    ours = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    program = f"try:\n    {code}\nexcept SystemExit: pass\n{SHOW}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**kept, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_set_it_before_torch_reads_it(command):
    assert told(COMMANDS[command]) == "1000 False"


@pytest.mark.parametrize("command", COMMANDS)
def test_what_the_user_says_stays(command):
    assert told(COMMANDS[command], GOMP_SPINCOUNT="7") == "7 False"
    assert told(COMMANDS[command], OMP_WAIT_POLICY="ACTIVE") == "None False"


def test_who_imports_the_package_decides_for_himself():
    assert told("import asr.cli.main") == "None False"
