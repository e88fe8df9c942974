"""Lexicons, phrases and language models that fit the model's tokens, and those that do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr.decoding import BeamOptions, Phrase, make_decoder, read_options
from asr.decoding.beam.language import Language
from asr.decoding.beam.lexicon import read_lexicon, spell_words
from asr.decoding.beam.tree import build_tree, highest_below
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.tokens import Tokenizer
from asr.types import DecodingError, LanguageModelError

LETTERS = Tokenizer(["<blank>", "<space>", *"abc"])
PHONES = Tokenizer(["<blank>", "aa", "b"], kind="phones")


def lm_of(*sentences: str) -> LanguageModel:
    units = [[unit.encode() for unit in sentence.split()] for sentence in sentences]
    return LanguageModel(estimate(units, KneserNeyConfig(2, discount_fallback=FALLBACK)))


@given(st.lists(st.lists(st.integers(1, 4), max_size=5).map(tuple), max_size=30))
def test_a_tree_has_every_sequence_and_no_other(sequences):
    tree, ends = build_tree(sequences)
    parents = np.repeat(np.arange(len(tree.tokens)), np.diff(tree.children))
    spelled = [()]
    for node in range(1, len(tree.tokens)):
        spelled.append((*spelled[parents[node - 1]], int(tree.tokens[node])))
    assert [spelled[end] for end in ends] == sequences
    assert len(set(spelled)) == len(spelled)
    assert set(spelled) == {s[:n] for s in [(), *sequences] for n in range(len(s) + 1)}
    values = np.random.default_rng(0).normal(size=len(spelled))
    below = [
        max(v for v, s in zip(values, spelled, strict=True) if s[: len(prefix)] == prefix)
        for prefix in spelled
    ]
    assert highest_below(tree, values).tolist() == below


def test_a_lexicon_of_words_and_of_spellings(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("ab\n\nca c a\ncba\tc b a <space>\nca c b\n")
    lexicon = read_lexicon(path, LETTERS)
    assert lexicon.words == {(2, 3): "ab", (4, 2): "ca", (4, 3, 2): "cba", (4, 3): "ca"}
    lexicon.save(tmp_path / "again.txt")
    assert read_lexicon(tmp_path / "again.txt", LETTERS) == lexicon


def test_a_number_in_brackets_is_a_variant_of_the_word(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("ca c a\nca(2) c b\nab\nab(3)\nab(12) a b b\n(2) b\n")
    lexicon = read_lexicon(path, Tokenizer([*LETTERS.tokens, "(", ")", "2"]))
    assert lexicon.words == {(4, 2): "ca", (4, 3): "ca", (2, 3): "ab", (2, 3, 3): "ab", (3,): "(2)"}
    lexicon.save(tmp_path / "again.txt")
    assert read_lexicon(tmp_path / "again.txt", LETTERS) == lexicon


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ab\nadz\n", r"line 2: the word 'adz' has unknown symbols 'd', 'z'"),
        ("ab a b\nx a é\n", r"line 2: the word 'x' has unknown symbols 'é'"),
        ("x a <space> b\n", r"line 1: the word 'x' has unknown symbols '<space>'"),
        ("x <blank>\n", r"line 1: the word 'x' has unknown symbols '<blank>'"),
        ("x <space>\n", r"line 1: the word 'x' has no spelling"),
        ("ab\nba\n\nbc a b\n", r"line 4: the words 'ab' and 'bc' are spelled alike"),
        ("\n\n", "empty"),
    ],
)
def test_a_lexicon_that_does_not_fit_names_word_and_line(tmp_path, text, message):
    path = tmp_path / "lexicon.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(LanguageModelError, match=message) as caught:
        read_lexicon(path, LETTERS)
    assert str(path) in str(caught.value)


def test_a_lexicon_that_cannot_be_read(tmp_path):
    with pytest.raises(LanguageModelError, match="cannot read"):
        read_lexicon(tmp_path / "none.txt", LETTERS)
    (tmp_path / "latin.txt").write_bytes(b"ab\n\xff\n")
    with pytest.raises(LanguageModelError, match="line 2: not UTF-8"):
        read_lexicon(tmp_path / "latin.txt", LETTERS)


def test_words_that_cannot_be_spelled_are_left_out():
    lexicon = spell_words(["ab", "xy", "c"], LETTERS)
    assert set(lexicon.words.values()) == {"ab", "c"}


def test_words_of_other_case_are_counted_and_named(caplog):
    Language(LETTERS, lm_of("ab Ba", "CAB xyz", "ab"))
    assert caplog.messages == [
        "3 of 4 of the language model's words cannot be spelled with the model's tokens and are "
        "never recognised (2 for upper or lower case): 'Ba', 'CAB', 'xyz'"
    ]
    caplog.clear()
    many = lm_of("a", *(f"A{'b' * n}" for n in range(9)))
    Language(LETTERS, many)
    assert caplog.messages[0].startswith("9 of 10 ")
    assert caplog.messages[0].endswith("'A', 'Ab', 'Abb', 'Abbb', 'Abbbb', …")
    caplog.clear()
    Language(LETTERS, lm_of("ab Ba", "ab"), spell_words(["ab", "ba", "cc"], LETTERS))
    assert caplog.messages == [
        "1 of 3 of the lexicon's words are in the language model in other case only and count as "
        "unknown there: 'ba'"
    ]


def test_there_is_no_warning_where_nothing_is_lost(caplog):
    Language(LETTERS, lm_of("ab ba", "ab"))
    Language(LETTERS, lm_of("ab Ba", "ab"), spell_words(["ab", "cc"], LETTERS))
    assert not caplog.messages


def test_a_model_of_words_needs_words_that_can_be_spelled():
    with pytest.raises(LanguageModelError, match=r"'AB' for one.*upper and lower case"):
        Language(LETTERS, lm_of("AB BA", "AB"))


def test_a_model_of_tokens_has_tokens_for_words():
    with pytest.raises(LanguageModelError, match=r"2 of the .*'ab' for one.*lm_units words"):
        Language(LETTERS, lm_of("ab ba", "a b <space>"), units="tokens")


def test_phones_have_no_words():
    for given_ in ({"lm": lm_of("aa b")}, {"lexicon": spell_words(["b"], PHONES)}):
        with pytest.raises(LanguageModelError, match="lm_units tokens"):
            Language(PHONES, **given_)
    Language(PHONES, lm_of("aa b"), units="tokens")
    config = BeamOptions(word_score=1.0)
    with pytest.raises(DecodingError, match="token_score"):
        make_decoder(config, PHONES, 0.01).decode(torch.zeros(1, 2, 3), torch.tensor([2]))


def test_unknown_units_are_refused():
    with pytest.raises(LanguageModelError, match="words or tokens"):
        Language(LETTERS, lm_of("a"), units="syllables")


@pytest.mark.parametrize(
    ("text", "weight"),
    [("", 1.0), (" ", 1.0), ("a", float("nan")), ("a", float("inf")), ("a", 1e3), ("a", "1")],
)
def test_impossible_phrases_are_refused(text, weight):
    with pytest.raises(DecodingError, match="give"):
        Phrase(text, weight)


def decode(*phrases: Phrase, language: Language | None = None, **options: object) -> object:
    config = read_options({"name": "beam", **options})
    decoder = make_decoder(config, LETTERS, 0.01, language, phrases)
    return decoder.decode(torch.zeros(1, 3, 5).log_softmax(2), torch.tensor([3]))


def test_phrases_that_can_never_be_said_are_refused():
    with pytest.raises(DecodingError, match=r"'ab z' has unknown symbols 'z'"):
        decode(Phrase("a"), Phrase("ab z"))
    language = Language(LETTERS, lm_of("ab ba"))
    with pytest.raises(DecodingError, match=r"'bb' of the phrase 'ab bb' is not in the lexicon"):
        decode(Phrase("ab bb"), language=language)
    decode(Phrase("ab bb"), language=language, unk_score=-1.0)
    with pytest.raises(DecodingError, match="100000 tokens"):
        decode(*[Phrase("a" * 1000)] * 101)


@pytest.mark.parametrize("name", ["greedy", "prefix"])
def test_other_decoders_say_that_they_know_no_phrases(name):
    with pytest.raises(DecodingError, match=f"{name} decoding knows no phrases.*beam"):
        decode(Phrase("a"), name=name)
