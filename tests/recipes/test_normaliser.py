"""One form for all texts: properties that hold of any text, and num2words as the oracle."""

from __future__ import annotations

import sys
import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.types import ConfigError, CorpusError
from recipes.common.normaliser import TextOptions, load_text_options, save_text_options
from recipes.common.numbers import spell_numbers
from recipes.common.texts import normalise

num2words = pytest.importorskip("num2words")

ALL = TextOptions("lower", "dropped", "unified", "en")
choices = st.builds(
    TextOptions,
    st.sampled_from(["kept", "upper", "lower"]),
    st.sampled_from(["kept", "dropped"]),
    st.sampled_from(["kept", "unified"]),
    st.sampled_from(["", "en", "de", "ru"]),
)
pieces = st.one_of(
    st.sampled_from(
        "don't rock’n’roll “quoted” «цитата» 3.5 1,250 1.250,5 21st 007 -4 U.S. re-read … 50% ' ’ "
        "ΟΔΌΣ ὀδός ßtraße İstanbul ŉ ǆ हिन्दी। ١٢٣ ３ e\u0301 \u200b \u00a0 ₂ ½ x2 a_1 $5 C++".split(
            " "
        )
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
)
texts = st.lists(pieces, max_size=6).map(" ".join)


@given(texts, choices)
@settings(max_examples=400, deadline=None)
def test_a_second_time_changes_nothing(text, options):
    once, _ = options.apply_and_tell(text)
    assert options.apply(once) == once
    assert once == normalise(once)


@given(texts)
def test_without_options_only_the_form_is_changed(text):
    assert TextOptions().apply(text) == normalise(text)


@given(texts, choices)
@settings(max_examples=200, deadline=None)
def test_what_is_dropped_is_told_and_nothing_else_is_lost(text, options):
    kept, dropped = TextOptions(options.case, options.punctuation).apply_and_tell(text)
    cased = {"kept": text, "upper": text.upper(), "lower": text.lower()}[options.case]
    plain = normalise(cased).replace(" ", "")
    for character in dropped:
        plain = plain.replace(character, "")
    for character in dropped:  # of which some stand within words, and stay
        kept = kept.replace(character, "")
    assert unicodedata.normalize("NFD", kept.replace(" ", "")) == unicodedata.normalize(
        "NFD", plain
    )


@pytest.mark.parametrize(
    ("options", "written", "read"),
    [
        (ALL, "“Don’t” — he said:  re-read IT!", "don't he said re read it"),
        (ALL, "The DOGS' o’clock, 'tis rock‘n’roll.", "the dogs o'clock tis rock'n'roll"),
        (
            ALL,
            "On the 21st, 1,250 people paid 3.5% …",
            "on the twenty first one thousand two hundred and fifty people paid three point five%",
        ),
        (TextOptions(punctuation="dropped"), "U.S. 3.5 and/or «a»", "U S 3.5 and or a"),
        (
            TextOptions(punctuation="dropped"),
            "col·legi ג׳ירפה $5 C++ a&b",
            "col·legi ג׳ירפה $5 C++ a&b",
        ),
        (TextOptions(punctuation="dropped"), "यह क्या है। नमस्ते", "यह क्या है नमस्ते"),
        (TextOptions("upper"), "straße ὀδός наше", "STRASSE ὈΔΌΣ НАШЕ"),
        (TextOptions("lower"), "ΟΔΟΣ НАШЕ", "οδος наше".replace("οδος", "οδος"[:-1] + "ς")),
        (TextOptions(quotes="unified"), "‘a’ ‹b› „c“ d´", "'a' 'b' \"c\" d'"),
        (TextOptions(numbers="ru"), "21 кошка", "двадцать один кошка"),
        (TextOptions(numbers="de"), "1.250,5 m", "eintausendzweihundertfünfzig Komma fünf m"),
        (TextOptions(numbers="fr"), "10 000 pas", "dix mille pas"),
    ],
)
def test_forms(options, written, read):
    assert options.apply(written) == read


@given(st.integers(0, 10**12), st.sampled_from(["en", "de", "fr", "ru", "es", "pl", "uk"]))
@settings(max_examples=200, deadline=None)
def test_numbers_are_spelled_as_num2words_spells_them(number, language):
    expected = num2words.num2words(number, lang=language).replace("-", " ").replace(",", " ")
    assert spell_numbers(f"a {number} b", language).split() == ["a", *expected.split(), "b"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("3.25", num2words.num2words(Decimal("3.25"))),
        ("102nd", num2words.num2words(102, to="ordinal")),
        ("1,234,567", num2words.num2words(1234567)),
        ("007", "zero zero seven"),
        (
            "1234567890123456",
            "one two three four five six seven eight nine zero one two three four five six",
        ),
        ("-4", "minus four"),
        ("٤٢", "forty two"),
        ("pages 3-5", "pages three-five"),
        ("mp3 B2B x1", "mp3 B2B x1"),
    ],
)
def test_numbers_in_english(written, said):
    plain = said.replace(",", "").replace("-", " ") if "pages" not in said else said
    assert spell_numbers(written, "en") == plain


def test_a_language_that_num2words_lacks_is_refused_with_those_it_has():
    with pytest.raises(ConfigError, match=r"'xx'.*choose.* en,"):
        TextOptions(numbers="xx").check()


def test_numbers_need_num2words_and_nothing_else_does(monkeypatch):
    monkeypatch.setitem(sys.modules, "num2words", None)
    assert ALL.apply("no number at all") == "no number at all"
    with pytest.raises(ConfigError, match=r"extra numbers"):
        ALL.apply("1 number")


@pytest.mark.parametrize(
    "values", [{"case": "title"}, {"punctuation": ""}, {"quotes": 1}, {"numbers": 3}]
)
def test_options_that_are_none_are_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        TextOptions(**values)


def test_options_are_kept_with_the_data(tmp_path):
    assert load_text_options(tmp_path) == TextOptions()
    save_text_options(tmp_path, ALL)
    assert load_text_options(tmp_path) == ALL
    for rubbish in ("", "[]", "{", '{"case": "odd"}', '{"colour": "red"}', "\udcff"):
        (tmp_path / "text.json").write_text(rubbish, "utf-8", errors="surrogateescape")
        with pytest.raises(CorpusError, match=r"text\.json"):
            load_text_options(tmp_path)
