"""Decoding graphs on disk and lexicons: what is kept, and what is refused how."""

from __future__ import annotations

import gzip
import json
import shutil
import sys

import pytest

from asr.decoding.lexicon import Lexicon, read_lexicon
from asr.decoding.wfst.decoder import word_ends
from asr.decoding.wfst.graph import load_graph, save_graph
from asr.decoding.wfst.make import make_graph
from asr.decoding.wfst.pronunciations import disambiguated, lexicon_for
from asr.lm.arpa import write_arpa
from asr.lm.model import LanguageModel
from asr.tokens import Tokenizer
from asr.types import AsrError, ConfigError, GraphError, LanguageModelError

LETTERS = Tokenizer(["<blank>", "<space>", "a", "b", "c"])
PHONES = Tokenizer(["<blank>", "ah", "b", "t"], "phones")
ARPA = """\\data\\
ngram 1=4

\\1-grams:
-99	<s>
-0.5	</s>
-0.7	ab
-0.6	cab

\\end\\
"""


@pytest.fixture
def wfst() -> None:
    for package in ("kaldifst", "kaldilm", "kaldi_decoder"):
        pytest.importorskip(package, reason=f"{package}, of the extra wfst, is not installed")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA)
    return path


@pytest.fixture
def folder(wfst, model, tmp_path):
    save_graph(make_graph(LETTERS, model), tmp_path / "graph")
    return tmp_path / "graph"


def test_a_graph_is_kept_whole(wfst, model, tmp_path):
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("ab  t  ah\n\nab b\ncab b\nunheard ah ah\n")
    made = make_graph(PHONES, model, lexicon)
    save_graph(made, tmp_path / "graph")
    read = load_graph(tmp_path / "graph", PHONES)
    assert read.fst.to_str() == made.fst.to_str() != ""
    assert read.words == made.words == ("<eps>", "<s>", "</s>", "ab", "cab")
    assert read.tokenizer.tokens == PHONES.tokens
    assert read.lexicon == made.lexicon == Lexicon({"ab": ((3, 1), (2,)), "cab": ((2,),)}, None)
    assert read.metadata == made.metadata
    assert made.metadata["words"] == 2


def test_equal_models_give_equal_graphs_packed_or_not(wfst, model, tmp_path):
    packed = tmp_path / "lm.arpa.gz"
    packed.write_bytes(gzip.compress(model.read_bytes()))
    for name, source in (("a", model), ("b", packed)):
        save_graph(make_graph(LETTERS, source), tmp_path / name)
    for file in ("TLG.fst", "words.txt", "tokens.txt"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_compact_model_gives_the_graph_of_the_arpa_file_with_its_numbers(wfst, model, tmp_path):
    compact, arpa = tmp_path / "lm.compact", tmp_path / "rounded.arpa"
    LanguageModel.load(model).save_compact(compact)
    write_arpa(LanguageModel.load(compact).ngrams(), arpa)
    made = make_graph(LETTERS, compact)
    assert made.fst.to_str() == make_graph(LETTERS, arpa).fst.to_str() != ""


def test_a_graph_replaces_a_graph_and_is_read_anew(folder, tmp_path):
    before = load_graph(folder, LETTERS)
    assert load_graph(folder, LETTERS) is before
    other = tmp_path / "other.arpa"
    other.write_text(ARPA.replace("cab", "ccc"))
    save_graph(make_graph(LETTERS, other), folder)
    assert load_graph(folder, LETTERS).words[-1] == "ccc"
    assert sorted(tmp_path.glob(".graph*")) == []


def test_nothing_else_is_replaced(folder, tmp_path):
    graph = load_graph(folder, LETTERS)
    (tmp_path / "mine").mkdir()
    save_graph(graph, tmp_path / "mine")  # an empty folder is free
    (tmp_path / "yours").mkdir()
    (tmp_path / "yours" / "thesis.txt").write_text("all of it")
    for place in (tmp_path / "yours", tmp_path / "yours" / "thesis.txt"):
        with pytest.raises(GraphError, match="something other than a graph stands here"):
            save_graph(graph, place)
    assert (tmp_path / "yours" / "thesis.txt").read_text() == "all of it"
    with pytest.raises(GraphError, match=r"no such folder"):
        save_graph(graph, tmp_path / "none" / "graph")


@pytest.mark.parametrize(
    "tokens",
    [
        Tokenizer(["<blank>", "<space>", "a", "c", "b"]),
        Tokenizer(["<blank>", "<space>", "a", "b"]),
        Tokenizer(LETTERS.tokens, "phones"),
    ],
)
def test_a_graph_for_other_tokens_is_refused(folder, tokens):
    with pytest.raises(GraphError, match=r"graph: .*another bundle .*asr graph"):
        load_graph(folder, tokens)


@pytest.mark.parametrize("name", ["graph.json", "TLG.fst", "words.txt", "tokens.txt"])
@pytest.mark.parametrize("how", ["missing", "cut", "changed", "empty"])
def test_a_damaged_graph_is_refused(folder, name, how, capfd):
    file = folder / name
    data = file.read_bytes()
    file.unlink()
    if how != "missing":
        changed = {"cut": data[: len(data) // 2], "changed": b"\xff" + data[1:], "empty": b""}
        file.write_bytes(changed[how])
    with pytest.raises(GraphError, match="asr graph"):
        load_graph(folder, LETTERS)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "config", [[], {}, {"format": "peephole-asr graph 1"}, {"format": "peephole-asr graph 2"}]
)
def test_other_json_is_refused(folder, config):
    (folder / "graph.json").write_text(json.dumps(config))
    with pytest.raises(GraphError, match="asr graph"):
        load_graph(folder, LETTERS)


def test_a_missing_graph_is_refused(tmp_path):
    with pytest.raises(GraphError, match="there is no decoding graph"):
        load_graph(tmp_path / "none", LETTERS)


@pytest.mark.parametrize("package", ["kaldifst", "kaldilm"])
def test_without_the_packages_the_extra_is_named(model, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r"'peephole-asr\[wfst\]'"):
        make_graph(LETTERS, model)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            b"ab a b\ncab c ah b a\n",
            r"line 2: the word 'cab' has tokens that the model lacks: 'ah'",
        ),
        (b"ab a <blank>\n", r"line 1: the word 'ab' has tokens that the model lacks: '<blank>'"),
        (b"\nab a b\ndab\n", r"line 3: the word 'dab' has unknown symbols 'd'"),
        (b"ab a b\n\xe9 a\n", r"line 2: not UTF-8 text"),
        (b" \n\n", "the lexicon is empty"),
        (b"", "the lexicon is empty"),
        (gzip.compress(b"ab a b\n" * 50, mtime=0)[:-9], "the packed stream is damaged"),
    ],
)
def test_a_broken_lexicon_is_refused(tmp_path, text, message):
    path = tmp_path / "lexicon.txt"
    path.write_bytes(text)
    with pytest.raises(GraphError, match=rf"lexicon\.txt.*{message}"):
        read_lexicon(path, LETTERS, GraphError)


def test_a_lexicon_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(GraphError, match=r"none\.txt: cannot read: No such file"):
        read_lexicon(tmp_path / "none.txt", LETTERS, GraphError)


def test_a_lexicon_may_be_packed(tmp_path):
    path = tmp_path / "lexicon.gz"
    path.write_bytes(gzip.compress(b"ab a b\nab\tb\r\n"))
    assert read_lexicon(path, LETTERS).pronunciations == {"ab": ((2, 3), (3,))}


WORDS = ["<unk>", "<s>", "</s>", "abba", "cd", "de", "fg", "gh", "hi", "ij"]


def test_a_number_in_brackets_is_a_variant_and_capitals_are_unknown_words(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("ab a b\nab(2) b\n<UNK> b b\n")
    lexicon = lexicon_for(("<unk>", "<s>", "</s>", "ab"), LETTERS, path)
    assert lexicon.pronunciations == {"ab": ((2, 3), (3,)), "<unk>": ((3, 3),)}


def test_words_without_a_pronunciation_are_counted_and_named(tmp_path):
    with pytest.raises(GraphError, match=r"6 of 8 words .* know: 'cd', 'de', 'fg', 'gh', 'hi', … "):
        lexicon_for(WORDS, LETTERS, None)
    with pytest.raises(GraphError, match=r"1 of 2 words .* are no tokens of the bundle: 'oh' "):
        lexicon_for(["ah", "oh"], PHONES, None)
    path = tmp_path / "lexicon.txt"
    path.write_text("abba a\n")
    with pytest.raises(GraphError, match=r"lexicon\.txt: 6 of 8 words .* not in the lexicon: 'cd'"):
        lexicon_for(WORDS, LETTERS, path)


def test_units_of_the_language_model_are_told_by_its_words():
    assert lexicon_for(["ab", "b"], LETTERS, None) == Lexicon({"ab": ((2, 3),), "b": ((3,),)}, 1)
    characters = lexicon_for(["<space>", "b", "<unk>"], LETTERS, None)
    assert characters == Lexicon({"<space>": ((1,),), "b": ((3,),)}, None)
    assert lexicon_for(["t", "ah"], PHONES, None) == Lexicon({"t": ((3,),), "ah": ((1,),)}, None)


def test_a_language_model_of_impossible_words_alone_is_refused(wfst, tmp_path):
    model = tmp_path / "lm.arpa"
    text = "\\data\\\nngram 1=3\n\n\\1-grams:\n-99\t<s>\n-0.5\t<unk>\n-9\t</s>\n\n\\end\\\n"
    model.write_text(text)
    graph = make_graph(LETTERS, model)  # hears silence
    assert graph.metadata["words"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ARPA.replace("\\end\\", ""), "ends before"),
        (ARPA.replace("</s>", "abc"), "</s>"),
        (ARPA.replace("-0.6", "six"), "line 8: not a number"),
        ("ab cab\n", "this is no ARPA file"),
    ],
)
def test_a_broken_language_model_is_refused(wfst, tmp_path, text, message):
    path = tmp_path / "lm.arpa"
    path.write_text(text)
    with pytest.raises(AsrError) as caught:
        make_graph(LETTERS, path)
    assert isinstance(caught.value, LanguageModelError | GraphError)
    assert message in str(caught.value)


def test_marks_make_pronunciations_different_and_none_the_beginning_of_another():
    entries = [(1, (5,)), (2, (5,)), (3, (5, 6)), (4, (5, 6)), (5, (7,)), (6, (6, 7)), (7, (5,))]
    marked = disambiguated(entries)
    assert [(word, labels) for word, labels, _ in marked] == entries
    assert [mark for *_, mark in marked] == [1, 2, 1, 2, 0, 0, 3]
    strings = [(*labels, *([-mark] if mark else [])) for _, labels, mark in marked]
    for a in strings:
        assert [b for b in strings if b[: len(a)] == a] == [a]


def test_words_find_their_labels():
    ways = {"x": ((1,), (1, 2)), "y": ((2, 3), (3,)), "z": ((4, 4, 5),)}
    joined, apart = Lexicon(ways, None), Lexicon(ways, 9)
    assert word_ends([1, 2, 3], ["x", "y"], joined, whole=True)[-1] == 3
    assert word_ends([1, 3, 4, 4, 5], ["x", "y", "z"], joined, whole=True) == [1, 2, 5]
    assert word_ends([1, 2, 9, 3, 9, 1], ["x", "y", "x"], apart, whole=True) == [2, 4, 6]
    assert word_ends([], [], apart, whole=True) == []
    assert word_ends([1, 9, 4, 4], ["x", "z"], apart, whole=False) == [1, 4]
    assert word_ends([1, 9, 4, 4], ["x"], apart, whole=False) == [1]
    assert word_ends([4, 4], [], apart, whole=False) == []
    assert word_ends([1, 9], ["x", "z"], apart, whole=False) == [1]


def test_a_moved_graph_is_read(folder, tmp_path):
    shutil.move(folder, tmp_path / "moved")
    assert load_graph(tmp_path / "moved", LETTERS).metadata["words"] == 2
