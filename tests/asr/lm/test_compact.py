"""The compact form holds the same model, rounded as it says."""

from __future__ import annotations

import json
import lzma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.lm.arpa import read_arpa, write_arpa
from asr.lm.compact import is_compact
from asr.lm.model import LanguageModel
from asr.types import LanguageModelError

NAMES = ("order1", "order2", "order3", "order4-pruned")
HALF_STEP = 1 / 64


@pytest.fixture
def compact(lmplz, tmp_path):
    path = tmp_path / "lm.compact"
    LanguageModel.load(lmplz / "order3.arpa.gz").save_compact(path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_ngram_is_there_within_half_a_step(name, lmplz, tmp_path, entries_of):
    whole = read_arpa(lmplz / f"{name}.arpa.gz")
    LanguageModel(whole).save_compact(tmp_path / "lm.compact")
    before = entries_of(whole)
    after = entries_of(LanguageModel.load(tmp_path / "lm.compact").ngrams())
    assert before.keys() == after.keys()
    for ngram, values in before.items():
        assert after[ngram] == pytest.approx(values, abs=HALF_STEP + 1e-6), ngram


def test_it_is_much_smaller_than_a_packed_arpa_file(lmplz, compact):
    assert compact.stat().st_size < (lmplz / "order3.arpa.gz").stat().st_size / 2.5


def test_what_is_read_scores_as_the_arpa_file_of_it_does(compact, lmplz, tmp_path):
    """The tree is used as it lies in the file: it has to be the one that a list would give."""
    model = LanguageModel.load(compact)
    write_arpa(model.ngrams(), tmp_path / "lm.arpa")
    listed = LanguageModel.load(tmp_path / "lm.arpa")
    for line in (lmplz / "heldout.txt").read_text(encoding="utf-8").splitlines():
        words = line.split()
        np.testing.assert_array_equal(model.score_sentence(words), listed.score_sentence(words))


def test_what_is_next_to_impossible_does_not_become_certain(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text("\\data\\\nngram 1=3\n\n\\1-grams:\n-1 <s>\n-1 </s>\n-1e30 x\n\n\\end\\\n")
    LanguageModel.load(path).save_compact(tmp_path / "lm.compact")
    write_arpa(LanguageModel.load(tmp_path / "lm.compact").ngrams(), tmp_path / "again.arpa")
    [line] = [text for text in (tmp_path / "again.arpa").read_text().splitlines() if "x" in text]
    assert float(line.split()[0]) < -1000


def test_writing_again_what_was_read_gives_the_same_bytes(compact, tmp_path):
    LanguageModel.load(compact).save_compact(tmp_path / "again.compact")
    assert (tmp_path / "again.compact").read_bytes() == compact.read_bytes()


def test_it_is_told_by_its_bytes(compact, lmplz, tmp_path):
    renamed = tmp_path / "lm.arpa"
    renamed.write_bytes(compact.read_bytes())
    assert is_compact(renamed)
    assert not is_compact(lmplz / "order3.arpa.gz")
    assert not is_compact(tmp_path / "missing")
    assert LanguageModel.load(renamed).rounded
    assert not LanguageModel.load(lmplz / "order3.arpa.gz").rounded


def parts(data: bytes) -> tuple[dict, bytes]:
    header, _, packed = data.partition(b"\n")
    return json.loads(header), lzma.decompress(packed)


def joined(header: dict, stream: bytes) -> bytes:
    return json.dumps(header).encode() + b"\n" + lzma.compress(stream)


def changed(name: str, data: bytes) -> bytes:
    header, stream = parts(data)
    words, counts = header["words"], header["counts"]
    if name == "cut":
        return data[:-20]
    if name == "a byte of the stream":
        return data[:-60] + bytes([data[-60] ^ 1]) + data[-59:]
    if name == "the header's end":
        return data[:40]
    if name == "more n-grams than there are":
        return joined({**header, "counts": [*counts[:-1], 10**12]}, stream)
    if name == "fewer words":
        return joined({**header, "counts": [counts[0] - 1, *counts[1:]]}, stream)
    if name == "negative counts":
        return joined({**header, "counts": [*counts[:-1], -1]}, stream)
    if name == "something after it":
        return joined(header, stream + b"\0")
    if name == "words that are not UTF-8":
        return joined(header, b"\xff" + stream[1:])
    if name == "siblings of one word":
        return joined(header, stream[: -4 * counts[-1]] + bytes(4 * counts[-1]))
    if name == "a word twice":
        text = stream[:words].decode().split("\n")
        place = next(k for k in range(5, len(text)) if len(text[k]) == len(text[4]))
        text[place] = text[4]
        return joined(header, "\n".join(text).encode() + stream[words:])
    assert name == "no step"
    return joined({k: v for k, v in header.items() if k != "step"}, stream)


@pytest.mark.parametrize(
    "name",
    [
        *("cut", "a byte of the stream", "the header's end", "more n-grams than there are"),
        *("fewer words", "negative counts", "something after it", "words that are not UTF-8"),
        *("siblings of one word", "a word twice", "no step"),
    ],
)
def test_what_is_damaged_is_refused_in_one_line(compact, name):
    compact.write_bytes(changed(name, compact.read_bytes()))
    with pytest.raises(LanguageModelError) as caught:
        LanguageModel.load(compact)
    assert str(caught.value).startswith(str(compact))
    assert "\n" not in str(caught.value)


def test_a_newer_version_says_so(compact):
    header, stream = parts(compact.read_bytes())
    compact.write_bytes(joined({**header, "version": 2}, stream))
    with pytest.raises(LanguageModelError, match="has version 2 of its form, this program reads 1"):
        LanguageModel.load(compact)


@pytest.fixture(scope="module")
def whole(lmplz, tmp_path_factory):
    path = tmp_path_factory.mktemp("compact") / "lm.compact"
    LanguageModel.load(lmplz / "order2.arpa.gz").save_compact(path)
    return path.read_bytes()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_damaged_stream_gives_a_model_or_a_message(data, whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("compact") / "lm.compact"
    header, stream = parts(whole)
    damaged = bytearray(stream)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(header["words"], len(stream) - 1))] = data.draw(
            st.integers(0, 255)
        )
    path.write_bytes(joined(header, bytes(damaged)))
    try:
        model = LanguageModel.load(path)
    except LanguageModelError:
        return
    assert model.score_sentence(["never", "said"]).sum() < 0
