"""``asr graph`` and ``asr transcribe --graph``, with a small model's bundle."""

from __future__ import annotations

import json
import sys

import pytest
import soundfile

from asr.bundle import save_bundle
from asr.cli.main import main

LINES = ["dad bad", "abed ace", "bad dad cab", "cab bed ace", "dad ace", "bee cab dad bad"]


@pytest.fixture
def wfst() -> None:
    for package in ("kaldifst", "kaldilm", "kaldi_decoder"):
        pytest.importorskip(package, reason=f"{package}, of the extra wfst, is not installed")


def run(capfd, *arguments: object) -> tuple[int, str, str]:
    """``capfd``, since compiled code may write past Python's streams."""
    status = main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return status, out, err


@pytest.fixture
def model(tmp_path, capfd):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(LINES) + "\n")
    path = tmp_path / "lm.arpa.gz"
    made = run(capfd, "lm", "train", text, "--discount-fallback", "--output", path)
    assert made == (0, "", "")
    return path


@pytest.fixture
def files(tmp_path, waveform_of) -> list[str]:
    paths = []
    for seed, seconds in enumerate((0.5, 1.6, 1.0)):
        waveform = waveform_of(seed, seconds)
        paths.append(str(tmp_path / f"{seed}.wav"))
        soundfile.write(paths[-1], waveform.samples, waveform.sample_rate)
    return paths


def test_transcripts_are_sentences_of_the_language_model(
    wfst, capfd, tiny_bundle_path, model, files, tmp_path
):
    graph = tmp_path / "graph"
    status, out, err = run(capfd, "graph", tiny_bundle_path, "--lm", model, "--output", graph)
    assert (status, err) == (0, "")
    assert dict(line.split() for line in out.splitlines())["words"] == "7"
    asked = ("transcribe", tiny_bundle_path, *files, "--graph", graph)
    status, out, err = run(capfd, *asked, "--format", "json", "--batch-seconds", 10)
    assert (status, err) == (0, "")
    found = [json.loads(line) for line in out.splitlines()]
    assert all(set(line["text"].split()) <= set(" ".join(LINES).split()) for line in found)
    assert any(line["text"] for line in found)
    alone = [run(capfd, "transcribe", tiny_bundle_path, f, "--graph", graph)[1] for f in files]
    assert [line["text"] + "\n" for line in found] == alone
    narrow = ("--search-beam", 4, "--max-active", 50, "--acoustic-scale", 0.7)
    assert run(capfd, *asked, *narrow, "--decoder", "wfst")[0] == 0


def test_a_lexicon_gives_other_words(wfst, capfd, tiny_bundle_path, files, model, tmp_path):
    lexicon = tmp_path / "lexicon.txt"
    words = sorted(set(" ".join(LINES).split()))
    lines = [f"{word} {' '.join(reversed(word))}" for word in words]
    lexicon.write_text("\n".join(lines) + "\n")
    graph = tmp_path / "graph"
    made = ("graph", tiny_bundle_path, "--lm", model, "--lexicon", lexicon, "--output", graph)
    assert run(capfd, *made)[0] == 0
    asked = ("transcribe", tiny_bundle_path, files[1], "--graph", graph, "--format", "ctm")
    status, out, err = run(capfd, *asked)
    assert (status, err) == (0, "")
    assert {line.split()[4] for line in out.splitlines()} <= set(words)


def test_what_cannot_be_is_said_in_one_line(
    wfst, capfd, tiny_bundle_path, bundle_of, model, files, tmp_path
):
    graph, other = tmp_path / "graph", tmp_path / "other"
    save_bundle(bundle_of(seed=1), other)
    (tmp_path / "odd.txt").write_text("dad d a x\n")
    make = ("graph", tiny_bundle_path, "--lm", model, "--output")
    assert run(capfd, *make, graph)[0] == 0
    say = ("transcribe", tiny_bundle_path, files[0])
    refused = [
        ((*make, tmp_path), "something other than a graph"),
        ((*make, tmp_path / "no" / "graph"), "there is no such folder"),
        ((*make, graph, "--lexicon", tmp_path / "odd.txt"), "line 1: the word 'dad'"),
        ((*make[:3], tmp_path / "none.arpa", "--output", graph), "none.arpa: cannot read"),
        (("graph", tmp_path / "none", *make[2:], graph), "none"),
        ((*say, *files, "--graph", tmp_path / "none"), "there is no decoding graph"),
        ((*say, "--decoder", "wfst"), "the graph is ''"),
        (
            (*say, "--decoder", "beam", "--graph", graph),
            "beam decoding takes no --graph (choose the decoder wfst",
        ),
        ((*say, "--graph", graph, "--nbest", 3), "no decoder takes all of"),
        ((*say, "--decoder", "wfst", "--graph", graph, "--nbest", 3), "no --nbest above 1"),
        ((*say, "--graph", graph, "--lm", model), "--graph, --lm or --lexicon"),
        ((*say, "--graph", graph, "--max-active", 0), "max_active is 0"),
    ]
    for arguments, message in refused:
        status, out, err = run(capfd, *arguments)
        assert (status, out) == (2, "")
        assert err.startswith("asr: error: ")
        assert message in err
        assert err.count("\n") == 1
    assert run(capfd, *say, "--graph", graph, "--nbest", 1)[0] == 0  # still whole


@pytest.mark.parametrize("command", ["graph", "transcribe"])
def test_without_the_packages_the_extra_is_named(
    capfd, monkeypatch, tiny_bundle_path, files, model, tmp_path, command
):
    graph = tmp_path / "graph"
    graph.mkdir()
    (graph / "graph.json").write_text("{}")
    for package in ("kaldifst", "kaldilm", "kaldi_decoder"):
        monkeypatch.setitem(sys.modules, package, None)
    arguments = {
        "graph": ("graph", tiny_bundle_path, "--lm", model, "--output", graph),
        "transcribe": ("transcribe", tiny_bundle_path, files[0], "--graph", graph),
    }
    status, out, err = run(capfd, *arguments[command])
    assert (status, out) == (2, "")
    assert "'peephole-asr[wfst]'" in err
    assert err.count("\n") == 1
    assert run(capfd, "transcribe", tiny_bundle_path, files[0])[0] == 0
