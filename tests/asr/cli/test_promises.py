"""What every command promises of the files it reads and writes, the names it is given, and its end.

Output never destroys input, nor an older result for a new one that failed. Pipes are as good as
files. A name or a terminal that cannot express a text loses no other. A command that cannot write
says so in one line.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from asr.audio import write_wav
from asr.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
WORDS = "a b cab dad add bead ace bad ad cede\n"


@pytest.fixture
def place(tmp_path, waveform_of, tiny_bundle_path, monkeypatch) -> SimpleNamespace:
    """A folder of everything that commands read, which is the current one."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_bundle_path, "bundle")
    for seed, name in enumerate(("a.wav", "b.wav")):
        write_wav(name, waveform_of(seed, 1.0))
    for name in ("text.txt", "words.txt", "a.txt"):
        Path(name).write_text(WORDS)
    Path("phrases.txt").write_text("a cab\n")
    Path("pairs.tsv").write_text("a.wav\tab\nb.wav\tba\n")
    Path("segments").write_text("0 0.5 ab\n")
    train = ["lm", "train", "text.txt", "--order", "2", "--output", "lm.arpa"]
    assert main([*train, "--discount-fallback"]) == 0
    return SimpleNamespace(folder=tmp_path, bundle=Path("bundle"))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def transcribe(*more: str) -> list[str]:
    return ["transcribe", "bundle", "a.wav", *more]


LM = ("--lm", "lm.arpa", "--lexicon", "words.txt", "--phrases", "phrases.txt")
# A command without its output, and the inputs that it must not be written over.
COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    "transcribe": (
        transcribe("b.wav", *LM),
        ["a.wav", "b.wav", "lm.arpa", "words.txt", "phrases.txt", "bundle/tokens.txt"],
    ),
    "align": (["align", "bundle", "a.wav"], ["a.wav", "a.txt", "bundle/config.json"]),
    "align pairs": (
        ["align", "bundle", "--pairs", "pairs.tsv", "--format", "ctm"],
        ["pairs.tsv", "a.wav", "b.wav"],
    ),
    "align segments": (["align", "bundle", "a.wav", "--segments", "segments"], ["segments"]),
    "export": (["export", "bundle"], ["bundle/model.safetensors"]),
    "lm train": (
        ["lm", "train", "text.txt", "--vocab", "words.txt", "--order", "1", "--discount-fallback"],
        ["text.txt", "words.txt"],
    ),
}
CASES = [(command, target) for command, (_, inputs) in COMMANDS.items() for target in inputs]


@pytest.mark.parametrize(("command", "target"), CASES)
@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_no_command_writes_over_what_it_reads(place, capsys, command, target, link):
    arguments, _ = COMMANDS[command]
    output = target
    if link is not None:
        output = "link"
        link(place.folder / target, output)
    before = snapshot(place.folder)
    assert main([*arguments, "--output", output]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "which is read" in line
    assert snapshot(place.folder) == before


def test_a_picture_is_not_drawn_over_what_was_heard(place, capsys):
    for link, audio in ((os.symlink, "a.wav"), (os.link, "a.wav")):
        link(place.folder / audio, "link.png")
        before = snapshot(place.folder)
        assert main(["plot", "bundle", "a.wav", "--output", "link.png"]) == 2
        tune = ["tune", "bundle", "--pairs", "pairs.tsv", "--lm", "lm.arpa"]
        assert main([*tune, "--picture", "link.png"]) == 2
        assert snapshot(place.folder) == before
        os.remove("link.png")
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_a_graph_does_not_replace_the_folder_of_its_lexicon(place, capsys):
    graph = Path("graph")
    graph.mkdir()
    (graph / "graph.json").write_text("{}")
    shutil.copy("words.txt", graph / "lexicon.txt")
    before = snapshot(place.folder)
    call = ["graph", "bundle", "--lm", "lm.arpa", "--lexicon", "graph/lexicon.txt"]
    assert main([*call, "--output", "graph"]) == 2
    assert "which is read" in capsys.readouterr().err
    assert snapshot(place.folder) == before


def test_subtitles_in_a_folder_spare_recordings_of_such_names(place, capsys):
    os.makedirs("out")
    shutil.move("a.wav", "out/a.srt")  # a recording may be called anything
    before = snapshot(place.folder)
    call = ["transcribe", "bundle", "out/a.srt", "b.wav", "--format", "srt", "--output", "out"]
    assert main(call) == 2
    assert "which is read" in capsys.readouterr().err
    assert snapshot(place.folder) == before


@pytest.mark.parametrize("failure", ["bundle", "audio", "option", "format"])
@pytest.mark.parametrize("form", ["text", "json", "srt"])
def test_a_failed_call_leaves_an_older_result(place, capsys, failure, form):
    Path("old").write_text("old")
    bundle = "none" if failure == "bundle" else "bundle"
    audio = "none.wav" if failure == "audio" else "a.wav"
    option = {"option": ["--beam-width", "0"], "format": ["--device", "abacus"]}.get(failure, [])
    call = ["transcribe", bundle, audio, "--format", form, *option, "--output", "old"]
    assert main(call) == 2
    assert Path("old").read_text() == "old"
    assert ".partial" not in " ".join(os.listdir())


@pytest.mark.parametrize("arguments", [["export", "none"], ["align", "none", "a.wav"]])
def test_other_failed_calls_leave_an_older_result(place, capsys, arguments):
    Path("old").write_text("old")
    assert main([*arguments, "--output", "old"]) == 2
    assert Path("old").read_text() == "old"


def test_one_failure_among_results_is_written_beside_them(place, capsys):
    Path("old").write_text("old")
    call = ["transcribe", "bundle", "none.wav", "a.wav", "--format", "json", "--output", "old"]
    assert main(call) == 2
    first, second = map(json.loads, Path("old").read_text().splitlines())
    assert "error" in first
    assert "text" in second


# Pipes


@contextmanager
def fed(path: str, source: str) -> Iterator[None]:
    """A named pipe, into which another program writes a file."""
    os.mkfifo(path)
    data = Path(source).read_bytes()
    writer = threading.Thread(target=lambda: Path(path).write_bytes(data))
    writer.start()
    yield
    writer.join()
    os.remove(path)


def through_a_pipe(capsys, arguments: list[str], piped: str) -> tuple[str, str]:
    """What a command prints with a file, and with a pipe instead."""
    assert main(arguments) == 0
    expected = capsys.readouterr().out
    with fed("pipe", piped):
        assert main(["pipe" if a == piped else a for a in arguments]) == 0
    return expected, capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "piped"),
    [
        (transcribe(), "a.wav"),
        (transcribe("--lm", "lm.arpa"), "lm.arpa"),
        (transcribe("--lexicon", "words.txt"), "words.txt"),
        (transcribe("--phrases", "phrases.txt"), "phrases.txt"),
        (["align", "bundle", "a.wav", "--text", "ab"], "a.wav"),
        (["align", "bundle", "--pairs", "pairs.tsv", "--format", "json"], "pairs.tsv"),
        (["align", "bundle", "a.wav", "--segments", "segments"], "segments"),
        (["lm", "score", "lm.arpa", "text.txt"], "lm.arpa"),
        (["lm", "score", "lm.arpa", "text.txt"], "text.txt"),
    ],
)
def test_a_pipe_is_as_good_as_a_file(place, capsys, arguments, piped):
    Path("words.txt").write_text(WORDS.replace(" ", "\n"))
    expected, got = through_a_pipe(capsys, arguments, piped)
    assert got == expected


@pytest.mark.parametrize("piped", ["text.txt", "words.txt"])
def test_a_language_model_is_made_of_what_comes_through_a_pipe(place, piped):
    call = ["lm", "train", "text.txt", "--vocab", "words.txt", "--order", "1"]
    call += ["--discount-fallback", "--output"]
    assert main([*call, "file.arpa"]) == 0
    with fed("pipe", piped):
        assert main([*("pipe" if a == piped else a for a in call), "pipe.arpa"]) == 0
    assert Path("pipe.arpa").read_bytes() == Path("file.arpa").read_bytes()


def run(*arguments: str, **options: object) -> SimpleNamespace:
    """The command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "asr.cli.main", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})},
        timeout=120,
        check=False,
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options),
    )
    errors = (done.stderr or b"").decode().splitlines()
    return SimpleNamespace(status=done.returncode, out=done.stdout, errors=errors)


def test_standard_input_is_a_file_as_well(place, capsys):
    main(transcribe())
    expected = capsys.readouterr().out.encode()
    done = run("transcribe", "bundle", "-", input=Path("a.wav").read_bytes())
    assert (done.status, done.errors, done.out) == (0, [], expected)
    text = Path("text.txt").read_bytes()
    call = ("lm", "train", "-", "--order", "2", "--discount-fallback", "--output", "new.arpa")
    assert run(*call, input=text).status == 0
    assert Path("new.arpa").read_bytes() == Path("lm.arpa").read_bytes()


def test_a_closed_standard_input_is_told(place):
    command = [sys.executable, "-m", "asr.cli.main", "transcribe", "bundle", "-"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert b"standard input is closed" in done.stderr


def test_a_folder_stands_for_its_recordings(place, capsys):
    os.makedirs("in/deep")
    shutil.move("a.wav", "in/z.wav")
    shutil.move("b.wav", "in/deep/y.WAV")
    Path("in/notes.txt").touch()
    assert main(["transcribe", "bundle", "in"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["in/deep/y.WAV", "in/z.wav"]
    call = ["transcribe", "bundle", "in", "--format", "vtt", "--output", "out"]
    assert main(call) == 0
    assert sorted(str(p) for p in Path("out").rglob("*.vtt")) == ["out/deep/y.vtt", "out/z.vtt"]
    os.makedirs("empty")
    assert main(["transcribe", "bundle", "empty"]) == 2
    assert "no audio files" in capsys.readouterr().err


# Names and terminals

LATIN = os.fsdecode("mü.wav".encode("latin-1"))


@pytest.mark.parametrize("form", ["text", "json"])
def test_names_that_cannot_be_written_lose_no_other(place, form):
    shutil.copy("a.wav", LATIN)
    shutil.copy("a.wav", "ü→.wav")
    call = ("transcribe", "bundle", LATIN, "ü→.wav", "b.wav", "--format", form)
    for encoding, names in (
        ("ascii", ("m?.wav", "??.wav", "b.wav")),
        ("utf-8", ("m?.wav", "ü→.wav", "b.wav")),
    ):
        done = run(*call, env={"PYTHONIOENCODING": encoding})
        assert (done.status, done.errors) == (0, [])
        lines = done.out.decode(encoding).splitlines()
        if form == "json":
            lines = [f"{(row := json.loads(line))['file']}\t{row['text']}" for line in lines]
        assert tuple(line.split("\t")[0] for line in lines) == names
        assert all(line.split("\t")[1] for line in lines)


def test_such_names_are_written_to_files_too(place, capsys):
    shutil.copy("a.wav", LATIN)
    assert main(["transcribe", "bundle", LATIN, "b.wav", "--format", "ctm", "--output", "o"]) == 0
    assert {line.split()[0] for line in Path("o").read_text().splitlines()} == {"m?", "b"}


def test_subtitles_and_grids_of_such_names_are_written(place, capsys):
    shutil.copy("a.wav", LATIN)
    call = ["transcribe", "bundle", LATIN, "b.wav", "--format", "srt", "--output", "out"]
    assert main(call) == 0
    assert sorted(os.listdir("out")) == sorted(["b.srt", LATIN.replace(".wav", ".srt")])
    assert main(["align", "bundle", LATIN, "--text", "ab", "--output", "grid"]) == 0
    assert main(["plot", "bundle", LATIN, "--output", "u.png"]) == 0


# The end


@contextmanager
def unwritable(kind: str) -> Iterator[int]:
    if kind == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, descriptor = os.pipe()
        os.close(reader)
    yield descriptor
    os.close(descriptor)


PRINTING: dict[str, list[str]] = {
    "transcribe": transcribe("b.wav"),
    "lm score": ["lm", "score", "lm.arpa", "text.txt", "--verbose"],
    "help": ["--help"],
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
@pytest.mark.parametrize("kind", ["full", "closed"])
@pytest.mark.parametrize("command", PRINTING)
def test_output_that_cannot_be_written_is_told_in_one_line(place, kind, command):
    unbuffered = {"PYTHONUNBUFFERED": ""}  # else argparse passes over what it cannot write
    with unwritable(kind) as stdout:
        done = run(*PRINTING[command], stdout=stdout, env=unbuffered)
    assert done.status == 2
    if kind == "closed":
        assert done.errors == []
    else:
        assert done.errors == ["asr: error: standard output: No space left on device"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_errors_that_cannot_be_written_leave_the_status(place):
    with unwritable("full") as stderr:
        assert run("transcribe", "none", "a.wav", stderr=stderr).status == 2


def test_a_closed_standard_output_is_told(place):
    command = [sys.executable, "-m", "asr.cli.main", *transcribe()]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == b"asr: error: standard output is closed\n"
