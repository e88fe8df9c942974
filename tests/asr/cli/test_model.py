"""The model that is used where none is named, and what is taken for a bundle."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from asr.audio import read_audio, write_wav
from asr.bundle import shipped
from asr.cli.main import main

ROOT = Path(__file__).parents[3]


@pytest.fixture
def files(tmp_path, waveform_of):
    """Two recordings in a folder, the second of a name that starts like an option's value."""
    for number, name in enumerate(("a.wav", "b.wav")):
        write_wav(tmp_path / name, waveform_of(number, 0.8))
    return [str(tmp_path / name) for name in ("a.wav", "b.wav")]


@pytest.fixture
def ships(tmp_path, tiny_bundle_path, monkeypatch):
    """An installation with which a model has come."""
    place = tmp_path / "installed"
    shutil.copytree(tiny_bundle_path, place / shipped.NAME)
    monkeypatch.setattr(shipped, "PLACES", (tmp_path / "nowhere", place))
    return place / shipped.NAME


def texts(capsys, *arguments):
    status = main([*map(str, arguments)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


@pytest.fixture
def expected(files, tiny_recognizer):
    return [tiny_recognizer.recognize([read_audio(file)])[0].text for file in files]


def test_files_alone_are_recognised_by_the_model_that_ships(capsys, ships, files, expected):
    status, out, _ = texts(capsys, "transcribe", *files)
    assert status == 0
    assert [line.partition("\t")[2] for line in out.splitlines()] == expected


def test_a_folder_of_recordings_is_no_bundle(capsys, ships, files, tmp_path, expected):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    status, out, _ = texts(capsys, "transcribe", folder)
    assert status == 0
    assert [line.partition("\t")[2] for line in out.splitlines()] == expected


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_options_may_stand_anywhere(capsys, tiny_bundle_path, files, expected, place):
    arguments = [tiny_bundle_path, *files]
    arguments[place:place] = ["--batch-seconds", "5"]
    status, out, _ = texts(capsys, "transcribe", *arguments)
    assert status == 0
    assert [line.partition("\t")[2] for line in out.splitlines()] == expected


def test_a_recording_needs_no_suffix(capsys, ships, files, tmp_path, expected):
    path = shutil.copy(files[0], tmp_path / "noext")
    status, out, _ = texts(capsys, "transcribe", path)
    assert status == 0
    assert out == f"{expected[0]}\n"


def test_a_recording_may_be_a_pipe(capsys, ships, files, tmp_path, expected):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(Path(files[0]).read_bytes()))
    writer.start()
    status, out, _ = texts(capsys, "transcribe", pipe)
    writer.join(30)
    assert (status, out) == (0, f"{expected[0]}\n")


def test_a_named_bundle_goes_before_the_one_that_ships(capsys, ships, tiny_bundle_path, files):
    (ships / "config.json").write_text("{}")
    assert texts(capsys, "transcribe", tiny_bundle_path, *files)[0] == 0
    assert texts(capsys, "transcribe", *files)[0] == 2


def test_align_and_plot_use_it_too(capsys, ships, files, tmp_path, expected):
    status, out, _ = texts(capsys, "align", files[0], "--text", expected[0], "--format", "ctm")
    assert status == 0
    assert out
    picture = tmp_path / "picture.png"
    assert texts(capsys, "plot", files[0], "--output", picture)[0] == 0
    assert picture.stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["transcribe", "no/such/bundle", "a.wav"], "no such bundle"),
        (["transcribe"], "no audio"),
        (["transcribe", "no/such/place"], "no such file or folder: 'no/such/place'"),
        (["transcribe", ""], "no such file or folder: ''"),
        (["transcribe", "empty"], "empty: neither a bundle nor a folder of recordings"),
        (["transcribe", "notes.md"], "notes.md: this is not audio"),
        (["transcribe", "a.wav", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["export", "bundle", "more", "--output", "x.onnx"], "unrecognized arguments: more"),
        (["plot", "a.wav", "b.wav", "--output", "x.png"], "2 files to draw"),
    ],
)
def test_what_cannot_be_meant_is_said(capsys, ships, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("notes.md").write_text("of last week")
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert message in capsys.readouterr().err


def test_where_none_ships_that_is_said(capsys, monkeypatch, tmp_path, files):
    monkeypatch.setattr(shipped, "PLACES", (tmp_path,))
    status, _, err = texts(capsys, "transcribe", *files)
    assert status == 2
    assert "none has come with this installation" in err
    assert len(err.splitlines()) == 1


def test_a_wheel_takes_the_models_along(tmp_path):
    """Those of a checkout's ``models``, where an installation looks for them."""
    source = tmp_path / "source"
    for name in ("asr", "server"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("*.so", "__pycache__")
        )
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(ROOT / name, source)
    (source / "models" / "english").mkdir(parents=True)
    (source / "models" / "english" / "config.json").write_text("{}")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "lib")]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    assert (tmp_path / "lib" / "asr" / "models" / "english" / "config.json").is_file()
