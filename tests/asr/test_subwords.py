"""Subwords: segmentations are sentencepiece's, and texts come back as they were."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.subwords import MARK, Segmenter
from asr.tokens import BLANK, Tokenizer
from asr.types import TokenError

sentencepiece = pytest.importorskip("sentencepiece")

WORDS = (
    "the cat sat on a mat there then cats scattered matter atom ten tens tenth attic tactic "
    "stone stones state statement cast cost coast nation notion stationed enchanted chant "
    "das Kätzchen schläft наша кошка спит बिल्ली सोती है"
).split()
ALPHABET = sorted(set("".join(WORDS)))
SMALL = Tokenizer(
    [BLANK, MARK, "▁cat", "▁c", "a", "t", "at", "s", "▁the", "c"],
    "subwords",
    [-9.0, -3.0, -4.0, -5.0, -5.0, -4.0, -2.0, -3.0, -6.0],
)


@pytest.fixture(scope="module")
def theirs():
    """A model of sentencepiece's, trained on all that follows from the words."""
    texts = [" ".join(WORDS[i : i + 1 + i % 7]) for i in range(len(WORDS))] * 20
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=74,
        character_coverage=1.0,
        normalization_rule_name="identity",
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


@pytest.fixture(scope="module")
def ours(theirs):
    pieces = [theirs.id_to_piece(k) for k in range(1, theirs.get_piece_size())]
    scores = [theirs.get_score(k) for k in range(1, theirs.get_piece_size())]
    return Tokenizer([BLANK, *pieces], "subwords", scores)


words = st.one_of(
    st.sampled_from(WORDS), st.text(st.sampled_from(ALPHABET), min_size=1, max_size=12)
)
texts = st.lists(words, min_size=0, max_size=6).map(" ".join)


@given(texts)
@settings(max_examples=300)
def test_segmentations_are_sentencepieces(theirs, ours, text):
    assert ours.encode(text) == theirs.encode(text)
    assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text)) == text


@given(st.text(max_size=12))
def test_a_character_in_no_subword_is_unknown(ours, text):
    strange = {c for c in text if not c.isspace() and c not in ALPHABET}
    assert set(ours.unknown(text)) == strange
    if strange:
        with pytest.raises(TokenError, match="unknown symbols"):
            ours.encode(text)
    else:
        assert ours.decode(ours.encode(text)) == " ".join(text.split())


def test_the_mark_is_no_character_of_a_text():
    assert SMALL.unknown("c▁at") == [MARK]
    with pytest.raises(TokenError, match=MARK):
        SMALL.encode("c▁at")


def test_the_most_probable_spelling_is_taken():
    assert [SMALL.tokens[k] for k in SMALL.encode("cats  cat")[:2]] == ["▁cat", "s"]
    assert Segmenter({"▁": -1.0, "a": -1.0, "▁a": -2.5}).segment("a") == [MARK, "a"]
    assert Segmenter({"▁": -1.0, "a": -1.0, "▁a": -1.5}).segment("a") == ["▁a"]


def test_any_spelling_becomes_text_with_single_spaces():
    ids = [SMALL.tokens.index(t) for t in ["c", "at", MARK, MARK, "▁the", MARK, "at", "s", MARK]]
    assert SMALL.decode(ids) == "cat the ats"


def test_subwords_survive_the_file(tmp_path, ours):
    ours.save(tmp_path / "tokens.txt")
    loaded = Tokenizer.load(tmp_path / "tokens.txt")
    assert (loaded.kind, loaded.tokens, loaded.scores) == ("subwords", ours.tokens, ours.scores)
    text = " ".join(WORDS)
    assert loaded.encode(text) == ours.encode(text)


def test_words_begin_with_marks_or_after_one():
    assert SMALL.word_separator == 1
    starts = [token for k, token in enumerate(SMALL.tokens) if SMALL.starts_word(k)]
    assert starts == ["▁cat", "▁c", "▁the"]
    letters = Tokenizer([BLANK, "▁x", MARK], "phones")
    assert not any(letters.starts_word(k) for k in range(3))


@pytest.mark.parametrize(
    ("tokens", "scores", "named"),
    [
        ([MARK, "a"], None, "0 scores for 2 subwords"),
        ([MARK, "a"], [-1.0], "1 scores"),
        ([MARK, "a"], [-1.0, float("nan")], "nan"),
        ([MARK, "a"], [-1.0, float("-inf")], "-inf"),
        ([MARK, "a"], [-1.0, 0.5], "0.5"),
        (["a"], [-1.0], "mark alone"),
        ([MARK, "a▁b"], [-1.0, -1.0], "'a▁b'"),
        ([MARK, "▁▁"], [-1.0, -1.0], "'▁▁'"),
        ([MARK, "a b"], [-1.0, -1.0], "'a b'"),
        ([MARK, ""], [-1.0, -1.0], "''"),
    ],
)
def test_lists_that_are_no_subwords_are_refused(tokens, scores, named):
    with pytest.raises(TokenError, match=named):
        Tokenizer([BLANK, *tokens], "subwords", scores)


def test_other_tokens_have_no_scores():
    with pytest.raises(TokenError, match="1 scores for 1 characters"):
        Tokenizer([BLANK, "a"], "characters", [-1.0])


@pytest.mark.parametrize("line", ["▁a", "▁a\t", "▁a\tx", "▁a\t-1\t-2"])
def test_lines_that_are_no_subword_and_score_are_refused_by_name(tmp_path, line):
    path = tmp_path / "tokens.txt"
    path.write_text(f"# kind: subwords\n<blank>\n{MARK}\t-1.0\n{line}\n", "utf-8")
    with pytest.raises(TokenError, match="not a subword and its score") as caught:
        Tokenizer.load(path)
    assert str(path) in str(caught.value)
