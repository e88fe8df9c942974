"""``asr transcribe --written``: what was spoken stays beside; a missing package is one line."""

from __future__ import annotations

import json
import sys

import pytest

from asr.audio import write_wav
from asr.cli.main import main
from asr.itn import shared_normalizer


@pytest.fixture(scope="module")
def file(tmp_path_factory, waveform_of) -> str:
    path = tmp_path_factory.mktemp("audio") / "u.wav"
    write_wav(path, waveform_of(10, 1.1))
    return str(path)


def test_what_was_spoken_stays_beside(tiny_bundle_path, file, capsys):
    pytest.importorskip("wetext", reason="the extra itn is not installed")
    command = ["transcribe", str(tiny_bundle_path), file, "--format", "json"]
    assert main(command) == 0
    plain = json.loads(capsys.readouterr().out)["hypotheses"][0]
    assert "spoken_text" not in plain
    assert main([*command, "--written"]) == 0
    best = json.loads(capsys.readouterr().out)["hypotheses"][0]
    assert best["spoken_text"] == plain["text"]
    assert best["spoken_words"] == plain["words"]


def test_without_the_package_it_is_refused_in_one_line(tiny_bundle_path, file, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wetext", None)
    shared_normalizer.cache_clear()
    assert main(["transcribe", str(tiny_bundle_path), file, "--written"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "peephole-asr[itn]" in err
