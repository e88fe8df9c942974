"""`asr-client --stream`: a line a segment, and on a terminal text that grows."""

from __future__ import annotations

import io
import json
import re
import socket
import sys

import numpy as np
import pytest
import soundfile

from server.client_cli.live import PIECE_BYTES
from server.client_cli.main import main


@pytest.fixture
def recordings(tmp_path):
    """A WAV file of two pieces, and a FLAC file."""
    paths = [tmp_path / "a.wav", tmp_path / "b.flac"]
    for path in paths:
        soundfile.write(path, np.zeros(PIECE_BYTES // 2), 16_000, "PCM_16")
    return paths


def run(fake, *arguments) -> int:
    return main([*map(str, arguments), "--address", fake.address])


def test_each_segment_is_a_line(fake, recordings, capsys):
    assert run(fake, "--stream", *recordings) == 0
    out, err = capsys.readouterr()
    lines = [line.split("\t") for line in out.splitlines()]
    assert [name for name, _ in lines] == [str(path) for path in recordings]
    assert lines[0][1] == f"{PIECE_BYTES} 44"
    assert err == ""


def test_wav_is_named_and_others_are_not(fake, recordings):
    assert run(fake, "--stream", *recordings, "--look-ahead", "0.5") == 0
    first, second = (heard.live for heard in fake.heard)
    assert (first.config.encoding, second.config.encoding) == (7, 0)
    assert first.look_ahead.ToMilliseconds() == 500
    assert not first.interim_results, "nobody would see them"


@pytest.mark.parametrize(
    ("head", "encoding"), [(b"OggS\0\2", 4), (b"\x1aE\xdf\xa3", 10), (b"RIFFxxxxAVI ", 0)]
)
def test_so_is_what_else_is_decoded_as_it_comes(fake, tmp_path, head, encoding):
    path = tmp_path / "recording"
    path.write_bytes(head + bytes(100))
    assert run(fake, "--stream", path) == 0
    assert fake.heard[0].live.config.encoding == encoding


def test_raw_samples_come_from_standard_input(fake, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"RIFFxxxxWAVE")))
    raw = ["--encoding", "LINEAR16", "--sample-rate", "8000"]
    assert run(fake, "--stream", "-", *raw, "--single-utterance") == 0
    live = fake.heard[0].live
    assert (live.config.encoding, live.config.sample_rate_hertz) == (1, 8_000)
    assert live.single_utterance
    assert capsys.readouterr().out == "12\n"


def test_json_has_the_times_of_segments(fake, recordings, capsys):
    assert run(fake, "--stream", recordings[0], "--format", "json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["start"], record["end"], record["duration"]) == (0.0, 2.0, 2.0)
    assert [word["start"] for word in record["hypotheses"][0]["words"]] == [0.0, 1.0]


def test_subtitles_of_several_files_are_whole(fake, recordings, tmp_path):
    assert run(fake, "--stream", *recordings, "--format", "srt", "--output", tmp_path / "out") == 0
    assert (tmp_path / "out" / "a.srt").read_text().endswith(f"{PIECE_BYTES} 44\n\n")
    assert (tmp_path / "out" / "b.srt").is_file()


@pytest.mark.parametrize(
    ("form", "whole"), [("text", "\n"), ("srt", ""), ("vtt", "WEBVTT\n\n"), ("json", None)]
)
def test_a_file_in_which_nothing_was_said_has_a_result(fake, tmp_path, form, whole):
    """It stands in the place of an older one."""
    (tmp_path / "empty.raw").write_bytes(b"")
    (tmp_path / "out").write_text("of another file")
    raw = ["--encoding", "LINEAR16", "--sample-rate", "8000"]
    output = ["--format", form, "--output", tmp_path / "out"]
    assert run(fake, "--stream", tmp_path / "empty.raw", *raw, *output) == 0
    text = (tmp_path / "out").read_text()
    assert json.loads(text)["text"] == "" if whole is None else text == whole


def test_the_timeout_counts_until_the_server_begins(recordings, capsys):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # which takes calls, and no more
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        options = ["--timeout", "0.2", "--address", address]
        assert main(["--stream", str(recordings[0]), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no answer from {address} within 0.2 s" in line


def test_on_a_terminal_text_grows_in_its_place(fake, recordings, capsys, monkeypatch):
    """It is on standard error, and gone when the segment is final."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert run(fake, "--stream", recordings[0]) == 0
    out, err = capsys.readouterr()
    assert fake.heard[0].live.interim_results
    assert out == f"{PIECE_BYTES} 44\n"
    assert f"{PIECE_BYTES} 44" in err
    # Each drawing begins by wiping the one before; the last thing done is to wipe.
    erased = re.findall("\x1b\\[2K", err)
    assert len(erased) >= 2
    assert err.rindex("\x1b[2K") > err.rindex("44")


def test_one_that_fails_loses_no_other(serve_fake, failure, recordings, capsys):
    fake = serve_fake(None, failure("INVALID_ARGUMENT", "no audio"))
    assert run(fake, "--stream", *recordings) == 2
    out, err = capsys.readouterr()
    assert [line.split("\t")[0] for line in out.splitlines()] == [str(recordings[1])]
    assert err.splitlines() == [
        f"asr-client: error: {recordings[0]}: no audio",
        "asr-client: error: 1 of 2 files could not be transcribed",
    ]


def test_after_a_failure_that_all_would_share_the_rest_is_not_tried(
    serve_fake, failure, recordings, capsys
):
    fake = serve_fake(None, failure("NOT_FOUND", "no such model"))
    assert run(fake, "--stream", *recordings, "--format", "json") == 2
    out, err = capsys.readouterr()
    assert [json.loads(line)["error"] for line in out.splitlines()] == [
        "no such model",
        "not tried: no such model",
    ]
    assert len(fake.heard) == 1
    assert "no such model" in err


def test_a_file_that_is_not_there_is_told(fake, tmp_path, capsys):
    assert run(fake, "--stream", tmp_path / "none.wav") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "none.wav" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["--stream", "--list-models"],
        ["--stream", "a.wav", "--parallel", "2"],
        ["a.wav", "--look-ahead", "0.5"],
        ["--microphone", "--single-utterance"],
    ],
)
def test_options_that_do_not_fit_are_refused(fake, arguments, capsys):
    with pytest.raises(SystemExit):
        run(fake, *arguments)
    assert "--stream" in capsys.readouterr().err
