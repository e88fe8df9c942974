"""Lexicons, phrases and language models that fit the model's tokens, and those that do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr.decoding import BeamOptions, Phrase, make_decoder, read_options
from asr.decoding.beam.language import Language
from asr.decoding.beam.tree import build_tree, highest_below
from asr.decoding.lexicon import Lexicon, read_lexicon, spell_words, write_lexicon
from asr.lm.arpa import write_arpa
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
    assert lexicon.pronunciations == {
        "ab": ((2, 3),),
        "ca": ((4, 2), (4, 3)),
        "cba": ((4, 3, 2),),
    }
    assert lexicon.separator == 1
    write_lexicon(lexicon, tmp_path / "again.txt", LETTERS)
    assert (tmp_path / "again.txt").read_text() == "ab\nca\nca c b\ncba\n"
    assert read_lexicon(tmp_path / "again.txt", LETTERS) == lexicon


def test_a_number_in_brackets_is_a_variant_of_the_word(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("ca c a\nca(2) c b\nab(3)\nab(12) a b b\n(2) b\n<UNK> c\n")
    tokenizer = Tokenizer([*LETTERS.tokens, "(", ")", "2"])
    lexicon = read_lexicon(path, tokenizer)
    assert lexicon.pronunciations == {
        "ca": ((4, 2), (4, 3)),
        "ab": ((2, 3), (2, 3, 3)),
        "(2)": ((3,),),
        "<unk>": ((4,),),
    }
    write_lexicon(lexicon, tmp_path / "again.txt", tokenizer)
    assert read_lexicon(tmp_path / "again.txt", tokenizer) == lexicon


def test_a_lexicon_survives_being_written_whatever_its_words_and_tokens_are(tmp_path):
    bars = Tokenizer(["<blank>", "<space>", *"ab|()1"])
    words = {"a|": ((2, 4),), "b": ((4,), (3, 4)), "a(1)": ((2, 3),), "b(1)": ((3, 5, 7, 6),)}
    lexicon = Lexicon(words, bars.word_separator)
    write_lexicon(lexicon, tmp_path / "lexicon.txt", bars)
    assert read_lexicon(tmp_path / "lexicon.txt", bars) == lexicon


def test_phones_may_be_said_alike_and_silence_is_no_word(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("READ b aa\nREED b aa\nA aa\nA(2) b\n")
    lexicon = read_lexicon(path, PHONES)
    assert lexicon.pronunciations == {"READ": ((2, 1),), "REED": ((2, 1),), "A": ((1,), (2,))}
    assert (lexicon.separator, lexicon.silences) == (None, ())
    named = Tokenizer([*PHONES.tokens, "SIL", "h#", "noise"], kind="phones")
    assert read_lexicon(path, named).silences == (3, 4)
    path.write_text("<s> h#\n</s> h#\nA aa\n")  # as Sphinx has them
    lexicon = read_lexicon(path, named)
    assert (set(lexicon.pronunciations), lexicon.silences) == ({"A"}, (4,))
    path.write_text("A aa\n<sil> noise\n!SIL SIL\n")
    lexicon = read_lexicon(path, named)
    assert (set(lexicon.pronunciations), lexicon.silences) == ({"A"}, (5, 3))
    write_lexicon(lexicon, tmp_path / "again.txt", named)
    assert read_lexicon(tmp_path / "again.txt", named) == lexicon


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A aa\nB\n", "line 2: the word 'B' has no phones"),
        ("A aa\nB b zh b zh\n", "line 2: the word 'B' has tokens that the model lacks: 'zh' "),
        (
            "A aa\nB b\n\nA(2) aa\n",
            "line 4: the word 'A' has the tokens 'aa' twice, first in line 1",
        ),
        ("<sil> aa b\n", "line 1: <sil> has 2 tokens"),
        ("<sil>\n", "line 1: the word '<sil>' has no phones"),
        ("<sil> aa\n", "the lexicon is empty"),
    ],
)
def test_pronunciations_that_do_not_fit_name_word_and_line(tmp_path, text, message):
    path = tmp_path / "lexicon.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(LanguageModelError, match=message) as caught:
        read_lexicon(path, PHONES)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ab\nadz\n", r"line 2: the word 'adz' has unknown symbols 'd', 'z'"),
        ("ab a b\nx a é\n", r"line 2: the word 'x' has tokens that the model lacks: 'é'"),
        ("x <blank>\n", r"line 1: the word 'x' has tokens that the model lacks: '<blank>'"),
        ("x <space>\n", r"line 1: the word 'x' has no tokens"),
        (
            "ab\nba\n\nab a b\n",
            r"line 4: the word 'ab' has the tokens 'a b' twice, first in line 1",
        ),
        ("ab\nba\n<sil> a\n", r"line 3: <sil> names a token between words, and .* <space>"),
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
    assert set(lexicon.pronunciations) == {"ab", "c"}


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
        "1 of 3 of the lexicon's words are in the language model in other case or Unicode form "
        "only and count as unknown there: 'ba'"
    ]


def test_words_in_another_unicode_form_are_named(caplog):
    letters = Tokenizer(["<blank>", "<space>", *"cafe\u0301\u00e9"])
    model = lm_of("caf\u00e9 fac", "fac")
    Language(letters, model, spell_words(["cafe\u0301", "fac"], letters))
    assert "in other case or Unicode form only" in caplog.messages[0]
    assert "'cafe\u0301'" in caplog.messages[0]


def test_words_that_a_model_without_unknown_words_lacks_are_named(tmp_path, caplog):
    """Such as SRILM makes: what it lacks has no probability at all."""
    lines = ("\\data\\", "ngram 1=3", "", "\\1-grams:", "-0.5 </s>", "-99 <s>", "-0.5 ab", "")
    (tmp_path / "lm.arpa").write_text("\n".join([*lines, "\\end\\", ""]))
    model = LanguageModel.load(tmp_path / "lm.arpa")
    Language(LETTERS, model, spell_words(["ab", "cc"], LETTERS))
    assert caplog.messages == [
        "1 of 2 of the lexicon's words are not in the language model, which has no <unk>: they "
        "are all but never recognised: 'cc'"
    ]


def test_words_that_unicode_sees_as_several_are_left_out(caplog):
    """Counted by their bytes, a text has a no-break space in a word, or as one."""
    subwords = Tokenizer(["<blank>", "\u2581", "a", "\u2581a"], "subwords", [-1.0, -1.0, -1.0])
    units = [sentence.encode().split() for sentence in ("a \u3000 aa", "a a\u00a0a")]
    Language(
        subwords, LanguageModel(estimate(units, KneserNeyConfig(2, discount_fallback=FALLBACK)))
    )
    assert "2 of 4" in caplog.messages[0]


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


def test_phones_have_words_by_a_lexicon_alone():
    with pytest.raises(LanguageModelError, match=r"give a lexicon.*lm_units tokens"):
        Language(PHONES, lm_of("aa b"))
    with pytest.raises(LanguageModelError, match="does not go with words that are not"):
        Language(PHONES, lm_of("aa b"), Lexicon({"a": ((1,),)}), units="tokens")
    Language(PHONES, lm_of("aa b"), units="tokens")
    config = BeamOptions(word_score=1.0)
    with pytest.raises(DecodingError, match="token_score"):
        make_decoder(config, PHONES, 0.01).decode(torch.zeros(1, 2, 3), torch.tensor([2]))


def test_what_is_not_given_anew_stays(tmp_path):
    own = Language(PHONES, lm_of("A B", "B"), Lexicon({"A": ((1,),), "B": ((2,),)}))
    (tmp_path / "words.txt").write_text("A aa\nB b\nC aa b\n")
    write_arpa(lm_of("B A A").ngrams(), tmp_path / "other.arpa")
    wider = own.changed(None, tmp_path / "words.txt")
    assert wider.lm is own.lm
    assert set(wider.lexicon.pronunciations) == {"A", "B", "C"}
    other = own.changed(tmp_path / "other.arpa", None)
    assert set(other.lm.vocabulary) == {"A", "B", "<unk>", "<s>", "</s>"}
    assert other.lexicon == own.lexicon
    both = own.changed(tmp_path / "other.arpa", tmp_path / "words.txt")
    assert both.lexicon == wider.lexicon
    letters = Language(LETTERS, lm_of("ab", "ba"), spell_words(["ab"], LETTERS))
    write_arpa(lm_of("ab", "cc").ngrams(), tmp_path / "letters.arpa")
    assert letters.changed(tmp_path / "letters.arpa", None).lexicon is None  # words as written
    (tmp_path / "bad.txt").write_text("A zz\n")
    with pytest.raises(LanguageModelError, match=r"bad\.txt, line 1"):
        own.changed(None, tmp_path / "bad.txt")


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
