"""What is written is there whole or not at all, for whom the umask lets, and over no input."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from asr.audio import write_wav
from asr.bundle import save_bundle
from asr.decoding.beam.language import Language
from asr.decoding.lexicon import Lexicon, write_lexicon
from asr.decoding.wfst.graph import Graph, save_graph
from asr.export.files import save_onnx
from asr.files.write import (
    check_target,
    check_writable,
    replace_file,
    replace_folder,
    replace_text,
    write_bytes,
    write_text,
)
from asr.lm.arpa import write_arpa
from asr.lm.kneser_ney import KneserNeyConfig, estimate
from asr.plots import draw_surface, save_picture
from asr.tokens import Tokenizer
from asr.types import ConfigError, Waveform

NGRAMS = estimate(
    iter([[b"a"], [b"b", b"a"]]), KneserNeyConfig(order=1, discount_fallback=(0.5, 1.0, 1.5))
)


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


class StubFst:
    """Writes its file as Kaldi's do, through the C library."""

    def write(self, path: str) -> bool:
        Path(path).write_bytes(b"fst")
        return True


WRITERS: dict[str, Callable[[Path, Callable[..., object]], object]] = {
    "arpa": lambda path, _: write_arpa(NGRAMS, path),
    "packed": lambda path, _: write_arpa(NGRAMS, f"{path}.gz"),
    "tokens": lambda path, _: Tokenizer(["<blank>", "a"]).save(path),
    "lexicon": lambda path, _: write_lexicon(
        Lexicon({"a": ((1,),)}), path, Tokenizer(["<blank>", "a"])
    ),
    "picture": lambda path, _: save_picture(draw_surface([0], [0], [0.5]), f"{path}.png"),
    "wav": lambda path, _: write_wav(path, Waveform(np.zeros(99, np.float32), 16000)),
    "text": lambda path, _: write_text(path, "text"),
    "onnx": lambda path, bundle_of: save_onnx(bundle_of().model, path),
    "bundle": lambda path, bundle_of: save_bundle(bundle_of(), path),
    "graph": lambda path, bundle_of: save_graph(
        Graph(StubFst(), ("<eps>", "a"), bundle_of().tokenizer, None), path
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_who_may_read_is_the_umasks_choice(tmp_path, umask, writer, bundle_of):
    folder = tmp_path / "new"
    folder.mkdir()
    WRITERS[writer](folder / "x", bundle_of)
    made = list(folder.rglob("*"))
    assert made
    for path in made:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o777 if path.is_dir() else 0o666) & ~umask, path


def test_a_bundle_with_a_language_model_is_for_all_as_well(tmp_path, umask, bundle_of):
    from dataclasses import replace

    bundle = bundle_of()
    lm = tmp_path / "lm.arpa"
    write_arpa(NGRAMS, lm)
    language = Language.load(bundle.tokenizer, lm)
    save_bundle(replace(bundle, language=language), tmp_path / "b")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "b").iterdir()}
    assert modes == {0o666 & ~umask}


def test_a_file_that_stands_there_keeps_its_mode(tmp_path):
    path = tmp_path / "secret"
    path.touch(0o600)
    write_text(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)


class FailedError(Exception):
    pass


def write_and_fail(write: Callable[..., object], what: object, error: type[BaseException]) -> None:
    write(what)
    raise error


@pytest.mark.parametrize("replace", [replace_file, replace_text])
def test_a_failure_leaves_what_stood_there_and_nothing_else(tmp_path, replace):
    path = tmp_path / "result"
    path.write_text("old")
    with pytest.raises(FailedError), replace(path) as stream:
        write_and_fail(stream.write, b"new" if replace is replace_file else "new", FailedError)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result"]


def test_an_interruption_keeps_what_was_done_beside(tmp_path):
    path = tmp_path / "result"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replace_text(path) as stream:
        write_and_fail(stream.write, "half", KeyboardInterrupt)
    assert (path.read_text(), (tmp_path / "result.partial").read_text()) == ("old", "half")


def test_a_folder_that_fails_leaves_what_stood_there(tmp_path):
    folder = tmp_path / "folder"
    with replace_folder(folder) as draft:
        (draft / "file").write_text("old")
    with pytest.raises(FailedError), replace_folder(folder) as draft:
        write_and_fail((draft / "file").write_text, "new", FailedError)
    assert (folder / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["folder"]


def test_an_interruption_between_two_renamings_leaves_the_old_folder(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    with replace_folder(folder) as draft:
        (draft / "file").write_text("old")
    rename = Path.rename

    def interrupted(path, target):
        rename(path, target)
        if path == folder:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), replace_folder(folder) as draft:
        (draft / "file").write_text("new")
    assert (folder / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("place", ["/proc/none", "file/in", "missing/in"])
def test_a_place_that_cannot_be_written_is_known_before(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(ConfigError, match=f"{place}: nothing can be written there"):
        check_writable(place)
    for good in ("new", "file", ".", "/dev/stdout"):
        check_writable(good)
    assert os.listdir() == ["file"]


def test_what_a_link_leads_to_is_replaced(tmp_path):
    (tmp_path / "deep").mkdir()
    file, folder = tmp_path / "deep" / "file", tmp_path / "deep" / "folder"
    file.touch()
    folder.mkdir()
    (tmp_path / "file").symlink_to(file)
    (tmp_path / "folder").symlink_to(folder)
    write_text(tmp_path / "file", "new")
    with replace_folder(tmp_path / "folder") as draft:
        (draft / "x").touch()
    assert file.read_text() == "new"
    assert os.listdir(folder) == ["x"]
    assert (tmp_path / "file").is_symlink()
    assert (tmp_path / "folder").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["deep", "file", "folder"]


def test_a_pipe_and_a_device_are_written_as_they_are(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_bytes(pipe, b"through")
    reader.join()
    write_bytes("/dev/null", b"away")
    assert got == [b"through"]
    assert not Path("/dev/null").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_a_full_disk_is_told_by_name(tmp_path):
    with pytest.raises(OSError, match="No space left"):
        write_bytes("/dev/full", b"x")
    with pytest.raises(OSError, match="nowhere"):
        write_bytes(tmp_path / "nowhere" / "file", b"x")


def test_a_name_as_long_as_names_may_be_is_written(tmp_path):
    path = tmp_path / ("x" * 255)
    write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


def test_what_utf8_cannot_express_is_replaced(tmp_path):
    write_text(tmp_path / "x", "a\udcffb")
    assert (tmp_path / "x").read_text(encoding="utf-8") == "a?b"


# Inputs


@pytest.mark.parametrize("kind", ["same", "dots", "symlink", "hard link", "inside", "around"])
def test_a_target_that_is_an_input_is_refused(tmp_path, monkeypatch, kind):
    folder = tmp_path / "in"
    folder.mkdir()
    audio = folder / "a.wav"
    audio.write_bytes(b"audio")
    link = tmp_path / "link"
    target, source = {
        "same": (audio, audio),
        "dots": (folder / ".." / "in" / "a.wav", audio),
        "symlink": (link, audio),
        "hard link": (link, audio),
        "inside": (audio, folder),
        "around": (folder, audio),
    }[kind]
    if kind == "symlink":
        link.symlink_to(audio)
    if kind == "hard link":
        os.link(audio, link)
    with pytest.raises(ConfigError, match="which is read") as caught:
        check_target(target, [None, tmp_path / "missing", source])
    assert str(source) in str(caught.value)
    assert audio.read_bytes() == b"audio"


def test_the_file_of_standard_input_is_not_written_over(tmp_path, monkeypatch):
    audio = tmp_path / "a.wav"
    audio.write_bytes(b"audio")
    with audio.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        check_target(audio, [None])  # nobody reads it
        with pytest.raises(ConfigError, match="standard input, which is read"):
            check_target(audio, ["-"])


@pytest.mark.parametrize("place", ["/dev/fd", "/proc/self/fd"])
def test_what_is_called_by_a_descriptor_is_written_at_its_place(tmp_path, place):
    """As ``/dev/stdout`` is, where a shell appends to a file."""
    if not os.path.isdir(place):
        pytest.skip(f"there is no {place} here")
    path = tmp_path / "log"
    path.write_text("before\n")
    with path.open("a") as stream:
        with replace_text(f"{place}/{stream.fileno()}") as text:
            text.write("result\n")
        write_bytes(f"{place}/{stream.fileno()}", b"bytes\n")
        stream.write("after\n")
    assert path.read_text() == "before\nresult\nbytes\nafter\n"


def test_a_link_that_leads_to_itself_loses_nothing(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "folder").mkdir()
    check_target(tmp_path / "folder", [tmp_path / "loop"])
    check_target(tmp_path / "loop", [tmp_path / "folder"])


def test_other_targets_are_not_refused(tmp_path):
    audio = tmp_path / "a.wav"
    audio.touch()
    (tmp_path / "other").touch()
    (tmp_path / "folder").mkdir()
    for target in ("other", "new", "folder", "/dev/null"):
        check_target(tmp_path / target, [audio, None, "-"])
