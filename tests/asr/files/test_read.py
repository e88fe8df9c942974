"""Texts are read alike wherever they are read: marks, packing, pipes and faults."""

from __future__ import annotations

import gzip
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from asr.cli.segments import read_pairs, read_segments
from asr.decoding.lexicon import read_lexicon
from asr.files.read import is_pipe, read_lines, read_text
from asr.lm.arpa import read_arpa
from asr.lm.text import read_sentences, read_vocabulary
from asr.tokens import Tokenizer
from asr.types import AsrError, CorpusError

TOKENS = Tokenizer(["<blank>", "<space>", "a", "b"])
ARPA = "\\data\\\nngram 1=3\n\n\\1-grams:\n-1\t<s>\n-1\t</s>\n-1\ta\n\n\\end\\\n"

# Every reader of texts that users write, with a text for it.
READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "arpa": (lambda path: read_arpa(path).vocabulary, ARPA),
    "sentences": (lambda path: list(read_sentences([path])), "a b\nb\n"),
    "characters": (lambda path: list(read_sentences([path], "characters")), "a b\nb\n"),
    "vocabulary": (read_vocabulary, "a\nb\n"),
    "lexicon": (lambda path: read_lexicon(path, TOKENS).pronunciations, "ab a b\nb\n"),
    "pairs": (lambda path: [(p.audio, p.text) for p in read_pairs(str(path))], "a.wav\tab\n"),
    "segments": (lambda path: read_segments(str(path), "a.wav"), "0 1 ab\n1 2 b\n"),
    "tokens": (lambda path: Tokenizer.load(path).tokens, "# kind: characters\n<blank>\na\n"),
}
READ = pytest.mark.parametrize("reader", READERS)


@READ
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, reader):
    read, text = READERS[reader]
    path = tmp_path / "text"
    path.write_bytes(text.encode("utf-8"))
    plain = read(path)
    path.write_bytes(text.encode("utf-8-sig"))
    assert read(path) == plain
    for compress in (gzip.compress, lzma.compress):
        path.write_bytes(compress(text.encode("utf-8-sig")))
        assert read(path) == plain


@READ
def test_lines_may_end_as_on_windows(tmp_path, reader):
    read, text = READERS[reader]
    path = tmp_path / "text"
    path.write_bytes(text.encode())
    plain = read(path)
    path.write_bytes(text.replace("\n", "\r\n").encode())
    assert read(path) == plain


@READ
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_a_pipe_is_read_as_a_file(tmp_path, reader, pack):
    """As of ``<(zcat …)``: it can be read once, and not from its beginning again."""
    read, text = READERS[reader]
    data = pack(text.encode())
    (tmp_path / "file").write_bytes(data)
    expected = read(tmp_path / "file")
    pipe = tmp_path / "file.pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with open(pipe, "wb", buffering=0) as stream:
            for k in range(len(data)):  # a byte at a time, as slowly as a pipe can be
                stream.write(data[k : k + 1])

    writer = threading.Thread(target=write)
    writer.start()
    got = read(pipe)
    writer.join()
    if reader != "pairs":  # which are relative to their file's folder, the same here
        assert got == expected
    assert str(got) == str(expected)


@READ
def test_what_cannot_be_read_is_named(tmp_path, reader):
    read, text = READERS[reader]
    missing, folder, latin = tmp_path / "missing", tmp_path, tmp_path / "latin"
    latin.write_bytes(text.replace("a", "ä").encode("latin-1"))
    for path in (missing, folder, latin):
        with pytest.raises(AsrError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "None" not in str(caught.value)
        assert caught.value.remedy


def test_the_line_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"good\ngood\nb\xe4d\n")
    with pytest.raises(CorpusError) as caught:
        read_text(path, CorpusError)
    assert caught.value.where == f"{path}, line 3"


def test_lines_are_numbered_with_the_blank_ones(tmp_path):
    path = tmp_path / "text"
    path.write_text("one\n\n  \nfour\u2028still four\n", encoding="utf-8")
    assert read_lines(path, CorpusError) == [
        (f"{path}, line 1", "one"),
        (f"{path}, line 4", "four\u2028still four"),
    ]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:12] + b"?" * 9])
def test_a_damaged_packing_is_named(tmp_path, pack, damage):
    path = tmp_path / "text.gz"
    path.write_bytes(damage(pack(b"line\n" * 1000)))
    with pytest.raises(CorpusError, match="packed stream is damaged") as caught:
        read_text(path, CorpusError)
    assert str(path) in str(caught.value)


def test_pipes_are_told_from_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    assert is_pipe(tmp_path / "pipe")
    assert is_pipe("-")
    assert not is_pipe(tmp_path / "file")
    assert not is_pipe(tmp_path / "missing")


def test_an_error_keeps_its_class_and_the_place_it_has():
    error = CorpusError("empty", remedy="fill it")
    placed = error.at("a.txt")
    assert (type(placed), str(placed)) == (CorpusError, "a.txt: empty (fill it)")
    assert placed.at("elsewhere") is placed
