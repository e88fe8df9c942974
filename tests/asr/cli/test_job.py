"""``asr transcribe --job``: each recording has one result, whatever ends the run."""

from __future__ import annotations

import json

import pytest

from asr.audio import read_audio, write_wav
from asr.cli import job
from asr.cli.main import main


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, waveform_of):
    folder = tmp_path_factory.mktemp("corpus")
    for index in range(5):
        (folder / f"s{index % 2}").mkdir(exist_ok=True)
        write_wav(folder / f"s{index % 2}" / f"u{index}.wav", waveform_of(index, 0.4))
    return folder


@pytest.fixture(scope="module")
def texts(corpus, tiny_recognizer):
    files = sorted(corpus.rglob("*.wav"))
    return {
        str(file.relative_to(corpus).with_suffix(".txt")): tiny_recognizer.recognize(
            [read_audio(file)]
        )[0].text
        + "\n"
        for file in files
    }


def run(capsys, *arguments):
    status = main(["transcribe", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert out == ""
    return status, err


def results(folder, suffix="txt"):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob(f"*.{suffix}")}


def manifest(folder, name="manifest.jsonl"):
    """The names of the recordings in the order in which they were done."""
    lines = (folder / name).read_text().splitlines()[1:]
    return [json.loads(line)["file"].rpartition("/")[2] for line in lines]


def test_every_recording_has_a_result_of_its_own(capsys, corpus, texts, tiny_bundle_path, tmp_path):
    assert run(capsys, tiny_bundle_path, corpus, "--job", tmp_path / "out") == (0, "")
    assert results(tmp_path / "out") == texts
    assert sorted(manifest(tmp_path / "out")) == [f"u{index}.wav" for index in range(5)]
    status, err = run(capsys, tiny_bundle_path, corpus, "--job", tmp_path / "out")
    assert (status, err) == (0, "asr: note: 5 of 5 files are done\n")
    assert len(manifest(tmp_path / "out")) == 5


def test_a_job_goes_on_where_it_ended(
    capsys, corpus, texts, tiny_bundle_path, tmp_path, monkeypatch
):
    """Interrupted after each result, before or behind its line, it does what is left alone."""
    out, write = tmp_path / "out", job._write

    def once(*arguments):
        write(*arguments)
        monkeypatch.setattr(job, "_write", interrupted)

    def interrupted(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    for runs in range(1, 10):
        monkeypatch.setattr(job, "_write", once)
        status, _ = run(capsys, tiny_bundle_path, corpus, "--job", out)
        if status == 0:
            break
        assert status == 130
        assert len(manifest(out)) == runs
    assert results(out) == texts
    assert sorted(manifest(out)) == [f"u{index}.wav" for index in range(5)]


def test_a_file_that_fails_keeps_no_other_and_is_tried_again(
    capsys, corpus, texts, tiny_bundle_path, tmp_path
):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF, and no more")
    arguments = (tiny_bundle_path, corpus, bad, "--job", tmp_path / "out")
    status, err = run(capsys, *arguments)
    assert status == 2
    assert "bad.wav" in err
    assert "1 of 6 files could not be transcribed" in err
    assert results(tmp_path / "out") == texts
    bad.write_bytes(next(corpus.rglob("*.wav")).read_bytes())
    status, err = run(capsys, *arguments)
    assert (status, err) == (0, "asr: note: 5 of 6 files are done\n")
    assert len(results(tmp_path / "out")) == 6


def test_shards_do_all_of_it_once(capsys, corpus, texts, tiny_bundle_path, tmp_path):
    for part in range(3):
        shard = ("--shard", f"{part}/3")
        assert run(capsys, tiny_bundle_path, corpus, "--job", tmp_path / "out", *shard)[0] == 0
    assert results(tmp_path / "out") == texts
    parts = [manifest(tmp_path / "out", f"manifest-{part}-of-3.jsonl") for part in range(3)]
    assert sorted(name for part in parts for name in part) == [
        f"u{index}.wav" for index in range(5)
    ]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (("--shard", "1/3", "--decoder", "beam"), "another decoder"),
        (("--shard", "0/2"), "done in 3 parts, not in 2 parts"),
        ((), "done in 3 parts, not in one part"),
    ],
)
def test_all_shards_of_a_folder_are_of_one_job(
    capsys, corpus, tiny_bundle_path, tmp_path, other, named
):
    call = (tiny_bundle_path, corpus, "--job", tmp_path / "out")
    assert run(capsys, *call, "--shard", "0/3")[0] == 0
    before = results(tmp_path / "out")
    status, err = run(capsys, *call, *other)
    assert (status, len(err.splitlines())) == (2, 1)
    assert named in err
    assert results(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--output", "x"), "--job and --output exclude each other"),
        (("--workers", "2"), "--workers are Ray's"),
        (("--workers", "0", "--engine", "ray"), "--workers are Ray's, 1 or more"),
        (("--shard", "3/3"), "--shard is 3/3"),
        (("--shard", "x"), "--shard is x"),
        (("-",), "only input"),
    ],
)
def test_what_does_not_go_together_is_refused(
    capsys, corpus, tiny_bundle_path, tmp_path, arguments, words
):
    status, err = run(capsys, tiny_bundle_path, corpus, "--job", tmp_path / "out", *arguments)
    assert status == 2
    assert words in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [("--engine", "ray"), ("--workers", "2"), ("--shard", "0/2")])
def test_what_is_for_jobs_needs_one(capsys, corpus, tiny_bundle_path, arguments):
    status, err = run(capsys, tiny_bundle_path, corpus, *arguments)
    assert status == 2
    assert "give --job FOLDER" in err


def test_another_jobs_folder_and_two_of_one_name_are_refused(
    capsys, corpus, tiny_bundle_path, tmp_path
):
    out = tmp_path / "out"
    assert run(capsys, tiny_bundle_path, corpus, "--job", out)[0] == 0
    status, err = run(capsys, tiny_bundle_path, corpus, "--job", out, "--format", "srt")
    assert status == 2
    assert "another format: text, not srt" in err
    twice = tmp_path / "u1.wav"
    twice.write_bytes(b"")
    status, err = run(capsys, tiny_bundle_path, corpus / "s1", twice, "--job", tmp_path / "b")
    assert status == 2
    assert "two files would both write" in err


def test_the_remedy_where_ray_is_missing(capsys, corpus, tiny_bundle_path, tmp_path, monkeypatch):
    def none(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("asr.extras.import_module", none)
    status, err = run(
        capsys, tiny_bundle_path, corpus, "--job", tmp_path / "out", "--engine", "ray"
    )
    assert status == 2
    assert "pip install 'peephole-asr[ray]'" in err
