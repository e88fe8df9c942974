"""Written forms: numbers as people write them, with the times and the words they come from."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.itn import InverseNormalizer
from asr.types import Hypothesis, MissingPackageError, Segment, Transcript, Word

pytest.importorskip("wetext", reason="the extra itn is not installed")

PLAIN = "the cat of my house is here and".split()
NUMBERS = "one two twenty three hundred thousand point dollars cents percent june tenth".split()


@pytest.fixture(scope="module")
def normalizer() -> InverseNormalizer:
    return InverseNormalizer()


def spoken(text: str) -> tuple[Word, ...]:
    """A word a second, with a pause of a quarter of a second after each."""
    return tuple(Word(word, i, i + 0.75, 0.5) for i, word in enumerate(text.split()))


def written(normalizer: InverseNormalizer, text: str) -> str:
    return " ".join(word.text for word in normalizer.words(spoken(text)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("he paid twenty three dollars and fifty cents", "he paid $23.50"),
        ("in nineteen eighty four it rained", "in 1984 it rained"),
        ("the tenth of june nineteen eighty two", "10 june 1982"),
        ("it is three point one four", "it is 3.14"),
        ("at half past nine", "at 09:30"),
        ("twenty kilometers per hour", "20 km/h"),
        ("HE PAID TWO HUNDRED POUNDS AT TWO THIRTY P M", "HE PAID 200 POUNDS AT 02:30 P.M."),
        ("i don't know", "i don't know"),
        ("", ""),
    ],
)
def test_what_people_write(normalizer, text, expected):
    assert written(normalizer, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("in nineteen ninety i was there", "in 1990 i was there"),
        ("twenty two a day", "22 a day"),
        ("wait a second", "wait a second"),
        ("the second of them", "the 2nd of them"),
    ],
)
def test_words_beside_numbers_are_no_part_of_them(normalizer, text, expected):
    assert written(normalizer, text) == expected


def test_a_written_word_has_the_time_of_all_that_it_comes_from(normalizer):
    words = normalizer.words(spoken("on the tenth of june nineteen eighty two at two thirty p m"))
    assert [(word.text, word.start, word.end) for word in words] == [
        ("on", 0, 0.75),
        ("10", 1, 3.75),
        ("june", 4, 4.75),
        ("1982", 5, 7.75),
        ("at", 8, 8.75),
        ("02:30", 9, 10.75),
        ("p.m.", 11, 12.75),
    ]


def test_it_is_as_sure_as_they_are(normalizer):
    words = (Word("twenty", 0, 1, 0.9), Word("two", 1, 2, 0.4), Word("cats", 2, 3, 0.7))
    assert [word.confidence for word in normalizer.words(words)] == [pytest.approx(0.6), 0.7]


def test_what_was_spoken_is_kept_beside(normalizer):
    words = spoken("twenty two cats")
    best = Hypothesis("twenty two cats", -1.0, 0.5, words=words)
    segments = (Segment(0.0, 3.0, (best,)),)
    transcript = normalizer.transcript(Transcript((best,), 3.0, segments))
    assert transcript.text == "22 cats"
    for each in (transcript.hypotheses[0], transcript.segments[0].hypotheses[0]):
        assert (each.text, each.spoken_text, each.spoken_words) == ("22 cats", best.text, words)
        assert each.score == best.score
    later = transcript.hypotheses[0].shifted(5.0)
    assert [word.start for word in later.spoken_words] == [5.0, 6.0, 7.0]


def test_a_hypothesis_without_words_keeps_its_text(normalizer):
    phones = Hypothesis("t uw", -1.0, 0.5)
    assert normalizer.hypothesis(phones).text == "t uw"


@settings(max_examples=3, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(PLAIN * 4 + NUMBERS), min_size=50, max_size=90))
def test_long_texts_are_written_as_the_rules_write_them_whole(texts):
    from wetext import Normalizer

    whole = Normalizer(lang="en", operator="itn").normalize(" ".join(texts))
    words = InverseNormalizer().words(spoken(" ".join(texts)))
    assert " ".join(word.text for word in words) == whole
    assert words[0].start == 0
    assert words[-1].end == len(texts) - 0.25
    assert all(one.end <= two.start for one, two in pairwise(words))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Zs", "Zl", "Zp", "Cc", "Cs"]), min_size=1),
        max_size=12,
    )
)
def test_what_the_rules_were_not_made_for_stays(texts):
    words = tuple(Word(text, i, i + 1, 0.5) for i, text in enumerate(["ten", *texts, "twenty"]))
    found = InverseNormalizer().words(words)
    assert (found[0].start, found[-1].end) == (0, len(words))
    strange = [word for word in words if not word.text.isascii()]
    assert [word for word in found if not word.text.isascii()] == strange


def test_a_caller_may_stop_it(normalizer):
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        normalizer.words(spoken("one"), stop)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "wetext", None)
    with pytest.raises(MissingPackageError, match=r"wetext.*'peephole-asr\[itn\]'"):
        InverseNormalizer()
