"""What importing the recogniser brings along: nothing that only some uses need."""

from __future__ import annotations

import subprocess
import sys

NEEDED = {"asr", "numpy", "safetensors", "soundfile", "soxr"}
SOUNDFILES = {"_cffi_backend", "_soundfile", "_soundfile_data", "cffi", "pycparser"}
SCRIPT = """
import sys
import torch
before = {name.split(".")[0] for name in sys.modules}
{body}
after = {name.split(".")[0] for name in sys.modules}
print(*sorted(after - before - sys.stdlib_module_names))
"""


def brought_along(body: str) -> set[str]:
    """Packages that ``body`` imports beside torch and what it imports."""
    code = SCRIPT.replace("{body}", body)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_the_recogniser_brings_what_every_call_needs_and_no_more():
    assert brought_along("import asr.recognizer, asr.transcribe") <= NEEDED | SOUNDFILES


def test_help_does_not_wait_for_torch():
    code = "import asr.cli.main as m, sys; m._parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=300, check=False).returncode == 0
