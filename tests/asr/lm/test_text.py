"""What becomes of the lines of text files."""

from __future__ import annotations

import gzip

import pytest

from asr.lm.text import read_sentences, read_vocabulary
from asr.tokens import Tokenizer
from asr.types import ConfigError, CorpusError


def read(path, units: str = "words") -> list[list[str]]:
    return [[unit.decode() for unit in sentence] for sentence in read_sentences([path], units)]


def test_units(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("  été  à\tla mer \r\n\n \t\nb".encode())
    assert read(path) == [["été", "à", "la", "mer"], ["b"]]
    assert read(path, "phones") == read(path, "words")
    spelt = [*"été", "<space>", "à", "<space>", *"la", "<space>", *"mer"]
    assert read(path, "characters") == [spelt, ["b"]]


def test_subwords_are_those_of_a_list(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("ab <s>\n", encoding="utf-8")
    tokens = ["<blank>", "▁", "▁a", "b", "<", "s", ">"]
    subwords = Tokenizer(tokens, "subwords", [-3.0, -1.0, -1.0, -2.0, -2.0, -2.0])
    [sentence] = read_sentences([path], "subwords", tokenizer=subwords)
    assert [unit.decode() for unit in sentence] == ["▁a", "b", "▁", "<", "s", ">"]
    path.write_text("ab\nabc\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"line 2: unknown symbols 'c'"):
        list(read_sentences([path], "subwords", tokenizer=subwords))


def test_subwords_and_their_list_go_together(tmp_path):
    letters = Tokenizer(["<blank>", "a"])
    for units, tokenizer in (("subwords", None), ("subwords", letters), ("characters", letters)):
        with pytest.raises(ConfigError, match="go together"):
            list(read_sentences([tmp_path], units, tokenizer=tokenizer))


def test_spaces_that_typographers_use_do_not_part_words(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("10\u00a0km away", encoding="utf-8")
    assert read(path) == [["10\u00a0km", "away"]]


def test_gzip_is_told_by_its_bytes(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(gzip.compress(b"a b\nc\n"))
    assert read(path) == [["a", "b"], ["c"]]


def test_what_is_read_is_told_and_adds_up_to_the_files(tmp_path):
    paths = [tmp_path / "a.txt", tmp_path / "b.txt.gz"]
    paths[0].write_bytes(b"some words here\n" * 200_000)
    paths[1].write_bytes(gzip.compress(b"others\n" * 50))
    told: list[int] = []
    assert sum(1 for _ in read_sentences(paths, on_read=told.append)) == 200_050
    assert sum(told) == sum(path.stat().st_size for path in paths)
    assert len(told) > 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a b\n\nc \xff d\n", "line 3: not UTF-8 text"),
        (b"a b\n<s> c </s>\n", "line 2: the text has <s>"),
        (b"a <unk>\n", "line 1: the text has <unk>"),
        (b"a <UNK>\n", "line 1: the text has <UNK>"),
        (gzip.compress(b"a b\n" * 1000, mtime=0)[:-9], "the packed stream is damaged"),
    ],
)
def test_lines_that_cannot_be_used_are_named(tmp_path, content, message):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=f"text.txt, .*{message}"):
        read(path)


def test_marks_are_characters_like_others(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("<s>")
    assert read(path, "characters") == [["<", "s", ">"]]


def test_a_missing_file_and_unknown_units_are_refused(tmp_path):
    with pytest.raises(CorpusError, match="cannot read: No such file"):
        read(tmp_path / "none.txt")
    with pytest.raises(ConfigError, match="unknown units 'syllables'"):
        read(tmp_path / "none.txt", "syllables")


def test_a_list_of_words_may_have_marks_and_has_to_have_words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("<unk>\na b\n")
    assert read_vocabulary(path) == {"<unk>", "a", "b"}
    path.write_text("\n")
    with pytest.raises(CorpusError, match="the list of words is empty"):
        read_vocabulary(path)
    path.write_bytes(b"a\n\xe9\n")
    with pytest.raises(CorpusError, match="line 2: not UTF-8"):
        read_vocabulary(path)
