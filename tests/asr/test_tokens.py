"""Text to ids and back, and vocabularies on disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.tokens import BLANK, SPACE, Tokenizer
from asr.types import TokenError

LETTERS = Tokenizer([BLANK, SPACE, "'", "a", "b", "é"])
PHONES = Tokenizer([BLANK, "sil", "aa", "ax-h"], "phones")

visible = st.characters(exclude_categories=["Z", "C"])  # neither spaces nor controls
texts = st.text(st.one_of(st.just(" "), visible), min_size=1)
names = st.text(visible, min_size=1, max_size=4).filter(lambda name: name != BLANK)


@given(texts)
def test_characters_come_back_as_they_were(text):
    tokenizer = Tokenizer.from_texts([text])
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert len(ids) == len(text)
    assert all(0 < number < tokenizer.size for number in ids)


@given(st.lists(names, min_size=1))
def test_phones_come_back_as_they_were(phones):
    tokenizer = Tokenizer.from_texts([" ".join(phones)], "phones")
    ids = tokenizer.encode("  ".join(phones))
    assert tokenizer.decode(ids) == " ".join(phones)
    assert len(ids) == len(phones)


@given(st.lists(texts, min_size=1), st.randoms())
def test_a_vocabulary_does_not_depend_on_the_order_of_texts(lines, random):
    shuffled = random.sample(lines, len(lines))
    assert Tokenizer.from_texts(lines).tokens == Tokenizer.from_texts(shuffled).tokens


@given(texts)
def test_characters_survive_the_file(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "characters.txt"
    saved = Tokenizer.from_texts([text])
    saved.save(path)
    loaded = Tokenizer.load(path)
    assert (loaded.tokens, loaded.kind) == (saved.tokens, saved.kind)


def test_phones_survive_the_file(tmp_path):
    PHONES.save(tmp_path / "tokens.txt")
    loaded = Tokenizer.load(tmp_path / "tokens.txt")
    assert (loaded.tokens, loaded.kind) == (PHONES.tokens, "phones")


def test_a_file_edited_on_windows_is_read(tmp_path):
    path = tmp_path / "tokens.txt"
    LETTERS.save(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert Tokenizer.load(path).tokens == LETTERS.tokens


def test_blank_is_zero_and_counted():
    assert (LETTERS.blank, LETTERS.tokens[0], LETTERS.size) == (0, BLANK, 6)


def test_empty_text_is_no_tokens():
    assert LETTERS.encode("") == [] == PHONES.encode(" ")
    assert LETTERS.decode([]) == "" == PHONES.decode([])


def test_decoding_collapses_nothing():
    assert LETTERS.decode([3, 3, 1, 1, 4]) == "aa  b"
    assert PHONES.decode([2, 2]) == "aa aa"


def test_the_word_separator_is_the_space_of_characters():
    assert LETTERS.word_separator == 1
    assert Tokenizer([BLANK, "a"]).word_separator is None
    assert PHONES.word_separator is None


def test_unknown_symbols_are_named_once_each():
    assert LETTERS.unknown("zebra z") == ["z", "e", "r"]
    with pytest.raises(TokenError, match="'z', 'e', 'r'"):
        LETTERS.encode("zebra z")
    with pytest.raises(TokenError, match="'zh'"):
        PHONES.encode("sil zh")


def test_the_blank_cannot_be_said():
    assert PHONES.unknown(f"sil {BLANK}") == [BLANK]
    with pytest.raises(TokenError, match="<blank>"):
        PHONES.encode(f"sil {BLANK}")


@pytest.mark.parametrize("number", [0, -1, 6])
def test_ids_of_no_symbol_are_refused(number):
    with pytest.raises(TokenError, match=str(number)):
        LETTERS.decode([3, number])


@pytest.mark.parametrize(
    ("tokens", "kind", "named"),
    [
        ([], "characters", "<blank>"),
        ([BLANK], "characters", "symbol"),
        (["a", BLANK], "characters", "<blank>"),
        ([BLANK, "a", "a"], "characters", "'a'"),
        ([BLANK, "ab"], "characters", "'ab'"),
        ([BLANK, ""], "characters", "''"),
        ([BLANK, " "], "characters", "' '"),
        ([BLANK, "\n"], "characters", "characters"),
        ([BLANK, "a b"], "phones", "'a b'"),
        ([BLANK, ""], "phones", "''"),
        ([BLANK, "a"], "words", "'words'"),
    ],
)
def test_lists_that_are_no_vocabulary_are_refused(tokens, kind, named):
    with pytest.raises(TokenError, match=named) as caught:
        Tokenizer(tokens, kind)
    assert caught.value.remedy


def test_no_texts_give_no_vocabulary():
    with pytest.raises(TokenError, match="symbol"):
        Tokenizer.from_texts([])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"<blank>\na\n",
        b"# kind: characters\n",
        b"# kind: characters\na\nb\n",
        b"# kind: words\n<blank>\na\n",
        b"# kind: characters\n<blank>\na\n\nb\n",
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "tokens.txt"
    path.write_bytes(content)
    with pytest.raises(TokenError) as caught:
        Tokenizer.load(path)
    assert (caught.value.where or "").startswith(str(path))


def test_a_missing_file_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(TokenError, match="No such file") as caught:
        Tokenizer.load(tmp_path / "tokens.txt")
    assert caught.value.where == str(tmp_path / "tokens.txt")
    assert caught.value.remedy
