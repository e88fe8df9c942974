"""``asr align``: every text has its times or its complaint, in each format."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from asr.audio import read_audio, write_wav
from asr.cli.main import main
from asr.cli.segments import Segment, read_pairs, read_segments
from asr.decoding.align import SPIKES, align
from asr.types import ConfigError, Waveform

TEXTS = ("ab cad", "bed", "a dab e")


@pytest.fixture
def files(tmp_path, waveform_of) -> list[str]:
    paths = [tmp_path / f"u{index}.wav" for index in range(len(TEXTS))]
    for index, (path, text) in enumerate(zip(paths, TEXTS, strict=True)):
        write_wav(path, waveform_of(index + 10, 0.6 + 0.3 * index))
        path.with_suffix(".lab" if index == 1 else ".txt").write_text(text + "\n")
    return [str(path) for path in paths]


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    status = main(["align", *(str(argument) for argument in arguments)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


def intervals(grid: str, tier: str) -> list[tuple[float, float, str]]:
    lines = grid.split(f'name = "{tier}"')[1].split("item [")[0].splitlines()
    values = [line.strip().partition(" = ") for line in lines]
    starts = [float(value) for key, _, value in values if key == "xmin"][1:]
    ends = [float(value) for key, _, value in values if key == "xmax"][1:]
    texts = [value.strip('"') for key, _, value in values if key == "text"]
    return list(zip(starts, ends, texts, strict=True))


def test_a_textgrid_has_the_words_and_tokens_of_the_text_beside_the_audio(
    capsys, tiny_bundle_path, files
):
    status, out, err = run(capsys, tiny_bundle_path, files[0])
    assert (status, err) == (0, "")
    words, tokens = intervals(out, "words"), intervals(out, "tokens")
    assert [text for _, _, text in words if text] == ["ab", "cad"]
    assert [text for _, _, text in tokens if text] == ["a", "b", "<space>", "c", "a", "d"]
    for tier in (words, tokens):
        assert tier[0][0] == 0.0
        assert tier[-1][1] == pytest.approx(0.6)
        assert all(a[1] == b[0] for a, b in pairwise(tier))


def test_each_file_has_its_own_textgrid(capsys, tiny_bundle_path, files, tmp_path):
    folder = tmp_path / "grids"
    status, out, err = run(capsys, tiny_bundle_path, *files, "--output", folder)
    assert (status, out, err) == (0, "", "")
    for index, text in enumerate(TEXTS):
        grid = (folder / f"u{index}.TextGrid").read_text()
        assert " ".join(word for _, _, word in intervals(grid, "words") if word) == text


def test_json_is_what_the_model_aligns(capsys, tiny_bundle_path, tiny_recognizer, files):
    status, out, _ = run(
        capsys, tiny_bundle_path, files[0], "--text", "ca d", "--format", "json", "--spikes"
    )
    assert status == 0
    log_probs, _ = tiny_recognizer.log_probs([read_audio(files[0])])
    expected = align(
        log_probs[0].numpy(),
        "ca d",
        tiny_recognizer.tokenizer,
        tiny_recognizer.seconds_per_frame,
        SPIKES,
    )
    found = json.loads(out)
    assert (found["file"], found["text"], found["duration"]) == (files[0], "ca d", 0.6)
    assert found["score"] == pytest.approx(expected.score, abs=1e-2)
    assert [(t["token"], t["start"], t["end"]) for t in found["tokens"]] == [
        (t.token, pytest.approx(t.start), pytest.approx(t.end)) for t in expected.tokens
    ]
    assert [w["text"] for w in found["words"]] == ["ca", "d"]


def test_one_text_that_fails_does_not_lose_the_others(capsys, tiny_bundle_path, files, tmp_path):
    long, strange, missing, silent = (tmp_path / f"{n}.wav" for n in ("l", "s", "m", "t"))
    for path in (long, strange, silent):
        write_wav(path, read_audio(files[1]))
    long.with_suffix(".txt").write_text("ab" * 500)
    strange.with_suffix(".txt").write_text("xylo")
    mixed = [files[0], long, strange, files[1], missing, silent, files[2]]
    status, out, err = run(capsys, tiny_bundle_path, *mixed, "--format", "json")
    assert status == 2
    found = [json.loads(line) for line in out.splitlines()]
    assert [line["file"] for line in found] == [str(file) for file in mixed]
    assert [line.get("text") for line in found if "error" not in line] == list(TEXTS)
    complaints = err.splitlines()
    for path, words, line in zip(
        (long, strange, missing, silent),
        ("frames", "'x', 'y', 'l', 'o'", "", "no text beside"),
        complaints,
        strict=False,
    ):
        assert line.startswith(f"asr: error: {path}: ")
        assert words in line
    assert complaints[4:] == ["asr: error: 4 of 7 texts could not be aligned"]
    status, out, _ = run(capsys, tiny_bundle_path, *mixed, "--format", "ctm")
    assert status == 2
    assert sum(line.startswith(";; ") for line in out.splitlines()) == 4
    said = [line.split()[4] for line in out.splitlines() if not line.startswith(";; ")]
    assert said == " ".join(TEXTS).split()


def test_pairs_name_audio_and_text(capsys, tiny_bundle_path, files, tmp_path):
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("u1.wav\tdeb a\n\nu0.wav\tbad\n")
    status, out, _ = run(capsys, tiny_bundle_path, "--pairs", pairs, "--format", "json")
    assert status == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [(line["file"], line["text"]) for line in found] == [
        (files[1], "deb a"),
        (files[0], "bad"),
    ]


def test_a_segment_is_aligned_as_its_piece_alone_and_timed_in_the_whole(
    capsys, tiny_bundle_path, files, tmp_path
):
    whole = read_audio(files[2])
    piece = Waveform(whole.samples[8000:16000], whole.sample_rate)
    write_wav(tmp_path / "piece.wav", piece)
    segments = tmp_path / "segments.txt"
    segments.write_text(
        '0.1 0.4 ab\n{"start": 0.5, "end": 1.0, "text": "dab e"}\n1.05 1.06 abcde\n'
    )
    call = (tiny_bundle_path, files[2], "--segments", segments)
    status, out, err = run(capsys, *call, "--format", "json")
    first, second, failed = map(json.loads, out.splitlines())
    assert status == 2
    assert (first["start"], first["end"], first["text"]) == (0.1, 0.4, "ab")
    assert failed.keys() == {"file", "start", "end", "error"}
    assert f"{files[2]}, 1.05 to 1.06 s: " in err
    _, out, _ = run(
        capsys, tiny_bundle_path, tmp_path / "piece.wav", "--text", "dab e", "--format", "json"
    )
    alone = json.loads(out)
    assert [t["start"] for t in second["tokens"]] == [
        pytest.approx(t["start"] + 0.5, abs=2e-3) for t in alone["tokens"]
    ]
    status, out, _ = run(capsys, *call)
    assert status == 2
    assert [text for _, _, text in intervals(out, "words") if text] == ["ab", "dab", "e"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no audio"),
        (["u0.wav", "u1.wav", "--text", "a"], "one text for 2 files"),
        (["u0.wav", "--pairs", "pairs.tsv"], "beside --pairs"),
        (["u0.wav", "u1.wav"], "--output FOLDER"),
        (["u0.wav", "u0.wav"], "more than once"),
        (["--pairs", "none.tsv"], "cannot read"),
        (["u0.wav", "--segments", "none.txt"], "cannot read"),
    ],
)
def test_calls_that_cannot_work_say_why(
    capsys, tiny_bundle_path, files, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, tiny_bundle_path, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0.5 x ab", "not a segment"),
        ("0.5", "not a segment"),
        ('{"start": 0, "end": 1}', "not a segment"),
        ('{"start": 0, "end": ', "not a segment"),
        ("2.5 3.5 a\n3 4 b", "from 3 to 4"),
        ("2 2 a", "from 2 to 2"),
        ("3 2 a", "from 3 to 2"),
        ("nan 5 a", "from nan to 5"),
        ("3 inf a", "from 3 to inf"),
    ],
)
def test_lines_that_are_no_segments_are_refused_by_number(tmp_path, line, message):
    path = tmp_path / "segments.txt"
    path.write_text(f"0 1.5 ok\n{line}\n")
    with pytest.raises(ConfigError, match=rf"segments\.txt, line [23]: .*{message}"):
        read_segments(str(path), "a.wav")


def test_files_of_segments_are_read_as_written(tmp_path):
    path = tmp_path / "list"
    path.write_text("0 1.5 one  two\n\n1.5 2.25\n", encoding="utf-8")
    assert read_segments(str(path), "a.wav") == [
        Segment("a.wav", "one  two", 0.0, 1.5),
        Segment("a.wav", "", 1.5, 2.25),
    ]
    path.write_text("b/ü.wav\tein Satz\n", encoding="utf-8")
    assert read_pairs(str(path)) == [Segment(str(tmp_path / "b/ü.wav"), "ein Satz")]
    for broken in ("", " \n", "a.wav without a tab\n", "\ttext\n"):
        path.write_text(broken)
        with pytest.raises(ConfigError, match="list"):
            read_pairs(str(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_pairs(str(path))
