"""ARPA files: what is written is read again, and what is broken is named by its line."""

from __future__ import annotations

import gzip
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.lm.arpa import read_arpa, write_arpa
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.lm.ngrams import Ngrams, NgramTable
from asr.lm.text import read_sentences
from asr.types import LanguageModelError


def test_values_and_words_are_those_of_the_file(arpa, tmp_path, entries_of):
    (tmp_path / "a.arpa").write_text(arpa)
    found = entries_of(read_arpa(tmp_path / "a.arpa"))
    assert len(found) == 11
    assert found["<s>",] == pytest.approx((-99, -0.4))
    assert found["b", "a"] == pytest.approx((-0.6, 0))
    assert found["b", "</s>"] == pytest.approx((-0.4, 0))
    assert found["a", "b", "</s>"] == pytest.approx((-0.35, 0))


@pytest.mark.parametrize("name", ["a.arpa", "a.arpa.gz"])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_what_is_written_is_read_again_to_the_bit(name, order, lmplz, tmp_path, entries_of):
    config = KneserNeyConfig(order, discount_fallback=FALLBACK)
    ngrams = estimate(read_sentences([lmplz / "text.txt"]), config)
    write_arpa(ngrams, tmp_path / name)
    again = read_arpa(tmp_path / name)
    assert again.vocabulary == ngrams.vocabulary
    for ours, read in zip(ngrams.tables, again.tables, strict=True):
        np.testing.assert_array_equal(ours.words, read.words)
        np.testing.assert_array_equal(ours.log_probs, read.log_probs)
        if ours is not ngrams.tables[-1]:
            np.testing.assert_array_equal(ours.backoffs, read.backoffs)
    packed = (tmp_path / name).read_bytes()[:2] == b"\x1f\x8b"
    assert packed == name.endswith(".gz")
    assert entries_of(again) == entries_of(ngrams)


def test_equal_models_give_equal_files_whenever_they_are_packed(arpa, tmp_path, monkeypatch):
    (tmp_path / "a.arpa").write_text(arpa)
    ngrams = read_arpa(tmp_path / "a.arpa")
    write_arpa(ngrams, tmp_path / "today.gz")
    monkeypatch.setattr(time, "time", lambda: 1e9)
    write_arpa(ngrams, tmp_path / "then.gz")
    assert (tmp_path / "today.gz").read_bytes() == (tmp_path / "then.gz").read_bytes()


@settings(deadline=None, max_examples=300)
@given(value=st.floats(max_value=0, width=32, allow_nan=False, allow_infinity=False))
def test_any_number_is_read_as_python_reads_it(value, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    for text in (str(np.float32(value)), f"{value:.12f}", f"{value:.9E}"):
        lines = f"\\data\\\nngram 1=1\n\n\\1-grams:\n{text}\tw\n\n\\end\\\n"
        (folder / "n.arpa").write_text(lines)
        if abs(float(text)) >= 1e38:
            with pytest.raises(LanguageModelError, match="line 5: not a finite number"):
                read_arpa(folder / "n.arpa")
            continue
        [[read]] = [table.log_probs for table in read_arpa(folder / "n.arpa").tables]
        assert read == np.float32(float(text))


def test_the_ways_in_which_tools_write(arpa, tmp_path, entries_of):
    """Carriage returns, spaces for tabs, text above the header, no break at the end, odd spaces."""
    (tmp_path / "plain.arpa").write_text(arpa)
    expected = entries_of(read_arpa(tmp_path / "plain.arpa"))
    variants = {
        "crlf": arpa.replace("\n", "\r\n"),
        "spaces": arpa.replace("\t", " "),
        "padded": arpa.replace("\t", " \t ").replace("\n", " \n"),
        "comment": "made by hand\n\n" + arpa,
        "unended": arpa.removesuffix("\n"),
        "header": arpa.replace("ngram 1=5", "ngram  1 = 5"),
        "blank": arpa.replace("\n\\", "\n\n\\"),
    }
    for name, text in variants.items():
        (tmp_path / name).write_bytes(text.encode())
        assert entries_of(read_arpa(tmp_path / name)) == expected, name


def test_words_may_have_any_characters_but_spaces(tmp_path):
    words = ["<s>", "</s>", "<unk>", "10\u00a0km", "\\end\\", "ngram", "-1.5", "日本", "\x0b"]
    values = np.full(len(words), -0.5, dtype=np.float32)
    table = NgramTable(np.arange(len(words), dtype=np.int32)[:, None], values, values)
    pairs = np.array([[3, 4], [7, 6], [8, 5]], dtype=np.int32)
    ngrams = Ngrams(tuple(words), (table, NgramTable(pairs, values[:3], values[:3])))
    write_arpa(ngrams, tmp_path / "a.arpa")
    again = read_arpa(tmp_path / "a.arpa")
    assert again.vocabulary == ngrams.vocabulary
    np.testing.assert_array_equal(again.tables[1].words, pairs)


def test_an_order_may_be_empty(arpa, tmp_path):
    text = arpa.replace("ngram 3=2", "ngram 3=0").replace("-0.2\t<s> a b\n-0.35\ta b </s>\n", "")
    (tmp_path / "a.arpa").write_text(text)
    model = LanguageModel.load(tmp_path / "a.arpa")
    assert model.order == 3
    assert model.score_sentence(["a", "b"]) == pytest.approx([-0.3, -0.2 - 0.5, -0.1 - 0.4])


def test_a_file_of_many_blocks_is_read_as_one_of_few(lmplz, monkeypatch, entries_of):
    expected = entries_of(read_arpa(lmplz / "order4.arpa.gz"))
    monkeypatch.setattr("asr.lm.arpa.BLOCK", 100)
    assert entries_of(read_arpa(lmplz / "order4.arpa.gz")) == expected


BROKEN = [
    ("-0.8\tb\t", "-0.8x\tb\t", 11, "not a number: '-0.8x'"),
    ("-0.8\tb\t", "nan\tb\t", 11, "not a finite number: 'nan'"),
    ("-0.8\tb\t", "-inf\tb\t", 11, "not a finite number: '-inf'"),
    ("-0.8\tb\t", "-1e99\tb\t", 11, "not a finite number: '-1e99'"),
    ("-0.8\tb\t", "0.8\tb\t", 11, "the logarithm of a probability is '0.8', above 0"),
    ("\tb\t-0.125", "\tb\tnan", 11, "not a finite number: 'nan'"),
    ("\tb\t-0.125", "\tb\t-0.1-2", 11, "not a number: '-0.1-2'"),
    ("-0.8\tb\t-0.125", "-0.8", 11, "not a 1-gram: 1 fields, not 2 or 3"),
    ("-0.8\tb\t", "-0.8\ta\t", 11, "the word 'a' stands twice"),
    ("a b\t-0.1\n", "a b c\n", 15, "not a number: 'c'"),
    ("a b\t-0.1\n", "a\n", 15, "not a 2-gram: 2 fields, not 3 or 4"),
    ("a b\t-0.1\n", "a z\t-0.1\n", 15, "the word 'z' is not among the 1-grams"),
    ("a b\t-0.1\n", "b a\t-0.1\n", 16, "the n-gram 'b a' stands twice"),
    ("\t<s> a b\n", "\ta a b\n", 20, "the context 'a a' is not among the 2-grams"),
    ("ngram 2=4", "ngram 2=5", 17, "the header says 5 2-grams, here end 4"),
    ("ngram 2=4", "ngram 2=99999999999", 17, "the header says 99999999999 2-grams"),
    ("ngram 3=2", "ngram 3=1", 21, "the header says 1 3-grams, here end 2"),
    ("ngram 2=4", "ngram 3=4", 3, "not ngram 2=N, but 'ngram 3=4'"),
    ("ngram 2=4", "ngram 2=-4", 3, "not ngram 2=N"),
    ("ngram 1=5\nngram 2=4\nngram 3=2\n", "", 2, "the header has no line ngram 1=N"),
    ("\\2-grams:", "\\3-grams:", 13, "not \\2-grams:, but"),
    ("\\end\\\n", "", 22, "the file ends before \\end\\"),
    ("\\end\\\n", "more\n", 23, "not \\end\\, but 'more'"),
]


@pytest.mark.parametrize(("good", "bad", "line", "what"), BROKEN)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_broken_is_named_by_its_line(arpa, tmp_path, good, bad, line, what, packed):
    assert arpa.count(good) == 1
    path = tmp_path / "bad.arpa"
    content = arpa.replace(good, bad).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(LanguageModelError) as caught:
        LanguageModel.load(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert what in str(caught.value)


def test_words_that_are_not_utf8_are_named_by_their_line(arpa, tmp_path):
    path = tmp_path / "bad.arpa"
    path.write_bytes(arpa.encode().replace(b"-0.8\tb\t", b"-0.8\t\xe9\t"))
    with pytest.raises(LanguageModelError, match="line 11: not UTF-8 text"):
        read_arpa(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "this is no ARPA file"),
        (b"mmap lm http://kheafield.com/code format version 5\n\0\0\0\0", "this is no ARPA file"),
        (b"\0" * 9_500_000, "a line is longer"),
        (gzip.compress(b"\\data\\\nngram 1=1\n\n", mtime=0)[:-4], "the packed stream is damaged"),
    ],
)
def test_files_that_are_something_else_are_refused(tmp_path, content, message):
    path = tmp_path / "bad.arpa"
    path.write_bytes(content)
    with pytest.raises(LanguageModelError, match=message):
        read_arpa(path)


def test_a_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(LanguageModelError, match=r"none.arpa: cannot read: No such file"):
        read_arpa(tmp_path / "none.arpa")


@settings(deadline=None, max_examples=400)
@given(data=st.data())
def test_a_damaged_file_gives_a_model_or_a_message(arpa, data, tmp_path_factory):
    content = bytearray(arpa.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        end = min(at + data.draw(st.integers(0, 9)), len(content))
        content[at:end] = data.draw(st.binary(max_size=3) | st.sampled_from([b"\n", b"\t", b"9"]))
    path = tmp_path_factory.getbasetemp() / "damaged.arpa"
    path.write_bytes(content or b"\n")
    try:
        scores = LanguageModel.load(path).score_sentence(["a", "b", "unheard"])
    except LanguageModelError:
        return
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("order", [1, 2])
def test_unknown_words_may_be_written_in_capitals(arpa, tmp_path, order):
    """As KenLM takes them; ``<S>`` is a word as any other there and here."""
    text = arpa.replace("<unk>", "<UNK>", order)
    (tmp_path / "capitals.arpa").write_text(text)
    (tmp_path / "small.arpa").write_text(arpa)
    found, expected = (
        LanguageModel.load(tmp_path / f"{name}.arpa") for name in ("capitals", "small")
    )
    assert found.vocabulary == expected.vocabulary
    assert found.score_sentence(["new", "word"]).tolist() == (
        expected.score_sentence(["new", "word"]).tolist()
    )


def test_unknown_words_in_capitals_are_found_in_longer_ngrams(tmp_path):
    text = (
        "\\data\\\nngram 1=4\nngram 2=2\n\n\\1-grams:\n-1 <UNK> -0.5\n-99 <s> -0.5\n-1 </s>\n"
        "-1 a -0.5\n\n\\2-grams:\n-0.25 <s> <UNK>\n-0.125 <unk> </s>\n\n\\end\\\n"
    )
    (tmp_path / "lm.arpa").write_text(text)
    model = LanguageModel.load(tmp_path / "lm.arpa")
    assert model.vocabulary == ("<unk>", "<s>", "</s>", "a")
    assert model.score_sentence(["zebra"]).tolist() == [-0.25, -0.125]


def test_an_unknown_word_in_both_cases_stands_twice(arpa, tmp_path):
    both = arpa.replace("ngram 1=5", "ngram 1=6").replace("<unk>\n", "<unk>\n-1.5\t<UNK>\n", 1)
    (tmp_path / "lm.arpa").write_text(both)
    with pytest.raises(LanguageModelError, match="'<unk>' stands twice"):
        LanguageModel.load(tmp_path / "lm.arpa")


def test_orders_beyond_reason_are_refused_before_any_memory_is_taken(tmp_path):
    path = tmp_path / "lm.arpa"
    counts = "".join(f"ngram {order}=0\n" for order in range(1, 2000))
    path.write_text(f"\\data\\\n{counts}\n")
    with pytest.raises(LanguageModelError, match=r"lm\.arpa, line 34: more than 32 orders"):
        read_arpa(path)
