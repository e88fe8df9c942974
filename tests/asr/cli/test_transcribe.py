"""``asr transcribe``: right text, right order, one line for each thing that goes wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asr.audio import read_audio, resample, write_wav
from asr.backends import make_backend
from asr.decoding import BeamOptions
from asr.recognizer import Recognizer
from asr.transcribe import transcribe_files
from asr.types import AsrError, DeviceMemoryError, Waveform


def test_text_of_one_file_is_that_of_the_recogniser(run, tiny_bundle_path, files, texts):
    status, out, err = run("transcribe", tiny_bundle_path, files[0])
    assert (status, out, err) == (0, texts[0] + "\n", "")


@pytest.mark.parametrize("batch_seconds", ["0.1", "2", "1000"])
def test_text_of_many_files_in_the_order_given(run, tiny_bundle_path, files, texts, batch_seconds):
    expected = "".join(f"{file}\t{text}\n" for file, text in zip(files, texts, strict=True))
    status, out, err = run("transcribe", tiny_bundle_path, *files, "--batch-seconds", batch_seconds)
    assert (status, out, err) == (0, expected, "")


@pytest.mark.parametrize("broken", [False, True], ids=["a batch", "a batch that fails"])
def test_a_file_of_another_rate_is_resampled_once(
    tiny_recognizer, waveform_of, tmp_path, monkeypatch, broken
):
    files = [str(tmp_path / f"{index}.wav") for index in range(3)]
    for index, file in enumerate(files):
        write_wav(file, waveform_of(index, 0.5, 8000))
    resampled = []

    def count(waveform, rate):
        resampled.append(rate)
        return resample(waveform, rate)

    honest = tiny_recognizer.log_probs

    def fail(waveforms):
        if len(waveforms) > 1:
            raise DeviceMemoryError("too much at once")
        return honest(waveforms)

    monkeypatch.setattr("asr.recognizer.resample", count)
    if broken:
        monkeypatch.setattr(tiny_recognizer, "log_probs", fail)
    outcomes = list(transcribe_files(tiny_recognizer, files))
    assert not any(isinstance(outcome, AsrError) for _, outcome in outcomes)
    assert resampled == [16_000] * 3


def test_one_bad_file_does_not_lose_the_others(run, tiny_bundle_path, files, texts, bad):
    mixed = [files[0], bad["empty"], files[1], bad["text"], bad["missing"], files[2]]
    status, out, err = run("transcribe", tiny_bundle_path, *mixed)
    assert status == 2
    assert [line.split("\t") for line in out.splitlines()] == [
        [files[0], texts[0]],
        [files[1], texts[1]],
        [files[2], texts[2]],
    ]
    lines = err.splitlines()
    assert len(lines) == 4
    for line, file in zip(lines, bad.values(), strict=False):
        assert line.startswith(f"asr: error: {file}: ")
    assert "3 of 6 files" in lines[3]


def test_a_file_too_short_is_told_by_its_name(
    run, tiny_bundle_path, files, texts, tmp_path, waveform_of
):
    write_wav(tmp_path / "short.wav", waveform_of(1, 0.005))
    status, out, err = run("transcribe", tiny_bundle_path, tmp_path / "short.wav", files[1])
    assert (status, out) == (2, f"{files[1]}\t{texts[1]}\n")
    assert f"{tmp_path / 'short.wav'}: " in err
    assert "too short" in err


def test_json_has_every_file_once(run, tiny_bundle_path, files, texts, bad):
    status, out, _ = run(
        "transcribe", tiny_bundle_path, files[0], bad["empty"], files[1], "--format", "json"
    )
    assert status == 2
    first, failed, second = map(json.loads, out.splitlines())
    assert (first["file"], first["text"]) == (files[0], texts[0])
    assert first["duration"] == pytest.approx(read_audio(files[0]).duration)
    assert failed.keys() == {"file", "error"}
    assert (second["file"], second["text"]) == (files[1], texts[1])


def test_ctm_of_many_files(run, tiny_bundle_path, files, texts, bad):
    status, out, _ = run("transcribe", tiny_bundle_path, bad["empty"], *files, "--format", "ctm")
    assert status == 2
    comment, *lines = out.splitlines()
    assert comment.startswith(";; ")
    heard: dict[str, list[str]] = {}
    for line in lines:
        file, channel, start, duration, word, confidence = line.split()
        assert channel == "1"
        assert float(start) >= 0
        assert float(duration) >= 0
        assert 0 <= float(confidence) <= 1
        heard.setdefault(file, []).append(word)
    assert {file: " ".join(words) for file, words in heard.items()} == {
        f"u{index}": " ".join(text.split()) for index, text in enumerate(texts) if text.split()
    }


def test_srt_of_one_file(run, tiny_bundle_path, files):
    status, out, _ = run("transcribe", tiny_bundle_path, files[0], "--format", "srt")
    assert status == 0
    assert re.match(r"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\n", out)


def test_srt_of_many_files_goes_into_a_folder(run, tiny_bundle_path, files, bad, tmp_path):
    folder = tmp_path / "subtitles"
    status, out, _ = run(
        *("transcribe", tiny_bundle_path, *files, bad["text"]),
        *("--format", "srt", "--output", folder),
    )
    assert (status, out) == (2, "")
    assert sorted(entry.name for entry in folder.iterdir()) == [f"u{i}.srt" for i in range(5)]


def test_srt_of_silence_replaces_an_older_one(run, tiny_bundle_path, files, tmp_path):
    """Two files, one in which nothing is said and one that fails: its older subtitles stay."""
    silence, folder = tmp_path / "silence.wav", tmp_path / "subtitles"
    write_wav(silence, Waveform(np.zeros(16_000, np.float32), 16_000))
    folder.mkdir()
    for name in ("silence.srt", "none.srt"):
        (folder / name).write_text("older")
    status, _, _ = run(
        *("transcribe", tiny_bundle_path, silence, tmp_path / "none.wav"),
        *("--format", "srt", "--output", folder),
    )
    assert status == 2
    assert (folder / "silence.srt").read_text() == ""
    assert (folder / "none.srt").read_text() == "older"


@pytest.mark.parametrize("twice", [False, True])
def test_srt_that_would_be_lost(run, tiny_bundle_path, files, tmp_path, twice):
    names = [files[0], str(Path(files[0]).with_suffix(".flac"))] if twice else files
    output = ["--output", tmp_path / "s"] if twice else []
    status, out, err = run("transcribe", tiny_bundle_path, *names, "--format", "srt", *output)
    assert (status, out, len(err.splitlines())) == (2, "", 1)


def test_output_to_a_file(run, tiny_bundle_path, files, texts, tmp_path):
    output = tmp_path / "out.txt"
    status, out, _ = run("transcribe", tiny_bundle_path, files[0], "--output", output)
    assert (status, out) == (0, "")
    assert output.read_text("utf-8") == texts[0] + "\n"


def test_beam_alternatives(run, tiny_bundle_path, tiny_recognizer, files):
    config = BeamOptions(beam_width=8, nbest=3)
    (transcript,) = tiny_recognizer.recognize(
        [read_audio(files[0])], tiny_recognizer.decoder(config)
    )
    status, out, _ = run(
        *("transcribe", tiny_bundle_path, files[0]),
        *("--decoder", "beam", "--beam-width", "8", "--nbest", "3"),
    )
    assert status == 0
    assert out.splitlines() == [
        f"{rank}\t{hypothesis.text}" for rank, hypothesis in enumerate(transcript.hypotheses, 1)
    ]


@pytest.mark.parametrize("backend", ["torch", "onnx", "onnx-int8"])
def test_the_backend_is_the_one_named(
    run, monkeypatch, tiny_bundle_path, bundle_of, files, backend
):
    chosen = []

    def make(name, model):
        chosen.append(name)
        return make_backend(name, model)

    monkeypatch.setattr("asr.recognizer.make_backend", make)
    expected = Recognizer(bundle_of(), backend=backend).recognize([read_audio(files[0])])[0].text
    status, out, err = run("transcribe", tiny_bundle_path, files[0], "--backend", backend)
    assert (status, out, err) == (0, expected + "\n", "")
    assert chosen == [backend, backend]


def test_prefix_search_tells_in_json_what_it_proved(run, tiny_bundle_path, files):
    call = ["transcribe", tiny_bundle_path, files[1], "--format", "json"]
    status, out, _ = run(*call, "--decoder", "prefix", "--nbest", "2")
    assert status == 0
    searches = [hypothesis["search"] for hypothesis in json.loads(out)["hypotheses"]]
    assert len(searches) == 2
    assert set(searches) <= {"exact", "sectioned", "cut"}
    for options, expected in (
        (["--blank-threshold", "1.0", "--max-expansions", "50000"], "exact"),
        (["--blank-threshold", "1.0", "--max-expansions", "1"], "cut"),
    ):
        _, out, _ = run(*call, *options)  # which ask for prefix search by themselves
        assert json.loads(out)["hypotheses"][0]["search"] == expected
    _, out, _ = run(*call)
    assert "search" not in json.loads(out)["hypotheses"][0]


def test_beam_options_ask_for_the_beam(run, tiny_bundle_path, files):
    said = run("transcribe", tiny_bundle_path, files[0], "--decoder", "beam")
    assert run("transcribe", tiny_bundle_path, files[0], "--beam-width", "16") == said


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--decoder", "oracle"], "greedy"),
        (["--beam-width", "0"], "beam"),
        (["--beam-width", "2", "--nbest", "3"], "nbest"),
        (["--device", "abacus"], "choose cpu"),
        (["--device", "cuda:77"], "choose cpu"),
        (["--backend", "abacus"], "onnx-int8"),
        (["--batch-seconds", "0"], "above 0"),
        (["--batch-seconds", "nan"], "above 0"),
        (["--output", "/nowhere/at/all.txt"], "/nowhere/at/all.txt"),
        (["--output", "/"], "folder"),
    ],
)
def test_bad_options_in_one_line(run, tiny_bundle_path, files, options, named):
    status, out, err = run("transcribe", tiny_bundle_path, files[0], *options)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert named in err


def test_words_of_the_language_model_that_are_lost_in_one_line(
    run, tiny_bundle_path, files, tmp_path
):
    lm = tmp_path / "lm.arpa"
    lm.write_text(
        "\\data\\\nngram 1=4\n\n\\1-grams:\n-99\t<s>\n-1\t</s>\n-1\tab\n-1\tBad\n\n\\end\\\n"
    )
    status, out, err = run("transcribe", tiny_bundle_path, files[0], "--lm", lm)
    assert status == 0
    assert set(out.split()) <= {"ab"}
    assert err == (
        "asr: warning: 1 of 2 of the language model's words cannot be spelled with the model's "
        "tokens and are never recognised (1 for upper or lower case): 'Bad'\n"
    )


@pytest.mark.parametrize("command", ["transcribe", "plot"])
def test_a_missing_bundle_in_one_line(run, tmp_path, files, command):
    output = ["--output", tmp_path / "x.png"] if command == "plot" else []
    status, out, err = run(command, tmp_path / "none", files[0], *output)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert str(tmp_path / "none") in err


def test_audio_without_words_has_no_text(tiny_bundle_path, files, texts, run, tmp_path):
    silence = tmp_path / "silence.wav"
    write_wav(silence, Waveform(np.zeros(48_000, np.float32), 16_000))
    for level, expected in [(None, texts[0]), ("-1", ""), ("-60", texts[0])]:
        gate = [] if level is None else ["--silence-gate", level]
        status, out, _ = run("transcribe", tiny_bundle_path, silence, files[0], *gate)
        assert status == 0
        assert [line.split("\t")[1] for line in out.splitlines()] == ["", expected]
    status, out, _ = run("transcribe", tiny_bundle_path, files[0], "--min-confidence", "1")
    assert (status, out.strip()) == (0, "")
    for wrong in (("--silence-gate", "3"), ("--min-confidence", "2")):
        status, _, err = run("transcribe", tiny_bundle_path, files[0], *wrong)
        assert status == 2
        assert len(err.splitlines()) == 1


def test_progress_on_a_terminal_leaves_the_output_alone(tiny_bundle_path, files, texts):
    """Standard error is a terminal, standard output a pipe."""
    leader, follower = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "asr.cli.main", "transcribe", str(tiny_bundle_path), *files],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm"},
        text=True,
        timeout=120,
        check=False,
    )
    os.close(follower)
    shown = os.read(leader, 65536).decode("utf-8", errors="replace")
    os.close(leader)
    assert done.returncode == 0
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == texts
    assert "transcribing" in shown
    assert "5/5" in shown
