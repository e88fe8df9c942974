"""The definition of the service keeps to buf's style and to what was released before."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROTO = Path(__file__).resolve().parents[3] / "proto"
RELEASED = PROTO / "released.binpb"
BUF = shutil.which("buf", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

pytestmark = pytest.mark.skipif(BUF is None, reason="buf is not installed (pip install buf-bin)")


@pytest.fixture
def buf(tmp_path):
    """``buf(command, folder, ...)``: what buf finds there, in lines; it may find nothing."""

    def run(*arguments: object) -> list[str]:
        done = subprocess.run(
            [str(BUF), *map(str, arguments)],
            env={**os.environ, "BUF_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == (not done.stdout), done.stderr
        return done.stdout.splitlines()

    return run


@pytest.fixture
def edited(tmp_path):
    """``edited(old, new)``: a copy of the definition where ``new`` stands for ``old``."""

    def edit(old: str, new: str) -> Path:
        copy = tmp_path / "proto"
        shutil.copytree(PROTO, copy)
        path = copy / "asr" / "v1" / "speech.proto"
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")
        return copy

    return edit


def test_the_definition_has_bufs_style(buf):
    assert buf("lint", PROTO) == []


def test_a_breach_of_style_is_found(buf, edited):
    assert buf("lint", edited("bool is_default = 2;", "bool isDefault = 2;"))


def test_clients_of_the_release_are_still_understood(buf):
    assert buf("breaking", PROTO, "--against", RELEASED) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bytes audio = 2;", "bytes audio = 3;"),
        ("bytes audio = 2;", "string audio = 2;"),
        ("int32 beam_width = 5;", "int64 beam_width = 5;"),
        ("int32 beam_width = 5;", "int32 beam_size = 5;"),  # another name in JSON
        ("repeated Model models = 1;", "Model models = 1;"),
        ("AUDIO_ENCODING_WAV = 7;", "AUDIO_ENCODING_WAV = 8;"),
        ("SEARCH_PROOF_CUT = 3;", ""),
    ],
)
def test_what_would_break_them_is_found(buf, edited, old, new):
    assert buf("breaking", edited(old, new), "--against", RELEASED)


def test_what_is_added_breaks_nothing(buf, edited):
    folder = edited("bytes audio = 2;", "bytes audio = 2;\n  // More.\n  string more = 3;")
    assert buf("breaking", folder, "--against", RELEASED) == []
