"""What an import brings along: what is heavy is imported by those who use it, when they use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from asr.nn.kernels import library

ROOT = Path(__file__).parents[1]
SPEECH = "models/english/samples/4406-16882-0023.flac"
TRANSCRIBE = "from asr.cli.main import main; main(['transcribe', {}])"
TORCH = {"torch", "torchaudio"}
OTHERS = {
    *("librosa", "scipy", "sklearn"),  # the reference front end
    *("numba", "llvmlite"),  # beam search
    *("onnx", "onnxruntime"),  # export and backends
    *("matplotlib", "PIL"),  # plots
    *("av", "ray", "pandas", "pyarrow"),  # uploads, jobs over many files
    *("kaldifst", "kaldilm", "kaldi_decoder", "wetext"),  # decoding graphs, written forms
    *("riva", "opentelemetry", "sounddevice", "lhotse", "pytorch_lightning", "tensorboard"),
}
# Without our kernel, what computes the model that ships.
ONNX = {"onnx", "onnxruntime"} if library.MISSING else set()
COMPILER = {"numba", "llvmlite", "scipy"}  # of scipy its name alone: see test_starting.py
HTTP = {"starlette", "uvicorn", "websockets", "python_multipart"}  # the gateway's alone
LIGHT = [
    ("import asr", OTHERS | TORCH | {"numpy"}),
    ("import asr.recognizer", OTHERS | {"torchaudio", "rich"}),
    (TRANSCRIBE.format(f"'{SPEECH}'"), OTHERS - ONNX - COMPILER | {"torchaudio", "rich"}),
    (
        TRANSCRIBE.format(f"'--decoder', 'greedy', '{SPEECH}'"),
        OTHERS - ONNX | {"torchaudio", "rich"},
    ),
    ("from asr.cli.main import main; main(['--help'])", OTHERS | TORCH | {"rich"}),
    ("from server.client_cli.main import main; main(['--help'])", OTHERS | TORCH | {"rich"}),
    ("import server.command", OTHERS | HTTP),
    ("import asr.audio", OTHERS | TORCH),  # what each audio worker imports
    ("import asr.cli.main", OTHERS | TORCH),
    ("from asr.cli.main import main; main(['--version'])", OTHERS | TORCH),
    ("from asr.cli.main import main; main(['transcribe', '--help'])", OTHERS),
    ("import server.main", OTHERS | TORCH),
    ("import server.probe", OTHERS | TORCH),
    ("import server.client", OTHERS | TORCH | {"asr"}),
    ("import server.http.main", OTHERS | TORCH | HTTP),
    ("import server.http.command", OTHERS | TORCH),
]
CODE = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted({{m.partition(".")[0] for m in sys.modules}}))))
{statement}
"""


@pytest.mark.parametrize(("statement", "absent"), LIGHT, ids=[row[0] for row in LIGHT])
def test_what_is_heavy_waits_until_it_is_used(statement: str, absent: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(statement=statement)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) & absent == set()
