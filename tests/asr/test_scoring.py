"""Error counts, with jiwer as the oracle."""

from __future__ import annotations

import itertools

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.scoring import (
    ErrorCounts,
    align,
    bootstrap_interval,
    confusions,
    token_errors,
    word_errors,
)

words = st.lists(st.sampled_from(["one", "two", "three", "four"]), max_size=9)
letters = st.text("abc", max_size=12)


@given(words.filter(bool), words)
def test_word_errors_are_those_of_jiwer(reference, hypothesis):
    found = word_errors(" ".join(reference), " ".join(hypothesis))
    expected = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    assert found.total == expected.substitutions + expected.deletions + expected.insertions
    # Between equal paths jiwer may choose another mix, but this difference is fixed by lengths.
    assert found.deletions - found.insertions == expected.deletions - expected.insertions
    assert found.rate == pytest.approx(expected.wer)


@given(letters.filter(bool), letters)
def test_character_errors_are_those_of_jiwer(reference, hypothesis):
    assert token_errors(reference, hypothesis).rate == pytest.approx(
        jiwer.cer(reference, hypothesis)
    )


@given(st.lists(st.tuples(words.filter(bool), words), min_size=1, max_size=5))
def test_counts_add_up_to_the_rate_of_the_corpus(pairs):
    references, hypotheses = (
        [" ".join(side) for side in sides] for sides in zip(*pairs, strict=True)
    )
    total = sum(map(word_errors, references, hypotheses), ErrorCounts())
    assert total.rate == pytest.approx(jiwer.wer(references, hypotheses))


@given(letters, letters)
def test_an_alignment_uses_every_token_once_in_order(reference, hypothesis):
    path = align(reference, hypothesis)
    assert [i for i, _ in path if i >= 0] == list(range(len(reference)))
    assert [j for _, j in path if j >= 0] == list(range(len(hypothesis)))
    assert (-1, -1) not in path


@given(letters, letters, letters)
def test_edits_are_a_distance(a, b, c):
    def distance(x, y):
        return token_errors(x, y).total

    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, b) == distance(b, a)
    assert distance(a, c) <= distance(a, b) + distance(b, c)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("", "", ErrorCounts(0, 0, 0, 0)),
        ("a b", "", ErrorCounts(0, 2, 0, 2)),
        ("", "a", ErrorCounts(0, 0, 1, 0)),
        ("a b c", "a x c d", ErrorCounts(1, 0, 1, 3)),
        ("  a   b ", "a b", ErrorCounts(0, 0, 0, 2)),
    ],
)
def test_counts_of_plain_cases(reference, hypothesis, expected):
    assert word_errors(reference, hypothesis) == expected


def test_rates_without_a_reference():
    assert ErrorCounts().rate == 0.0
    assert ErrorCounts(insertions=3).rate == 1.0


def test_confusions_count_what_was_taken_for_what():
    pairs = [(["p", "a"], ["b", "a"]), (["p"], ["b"]), (["t", "a"], ["t"]), (["a"], ["a", "h"])]
    found = confusions(pairs)
    assert found[0] == ("p", "b", 2)
    assert sorted(found[1:], key=str) == sorted([("a", None, 1), (None, "h", 1)], key=str)


@given(st.lists(st.tuples(letters, letters), max_size=4))
def test_confusions_add_up_to_the_errors(pairs):
    total = sum(itertools.starmap(token_errors, pairs), ErrorCounts())
    assert sum(count for *_, count in confusions(pairs)) == total.total


def test_a_bootstrap_interval_covers_the_true_rate_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth, hits = 0.2, 0
    for trial in range(200):
        errors = rng.binomial(20, truth, size=60)
        counts = [ErrorCounts(substitutions=int(e), reference_length=20) for e in errors]
        low, high = bootstrap_interval(counts, draws=300, seed=trial)
        hits += low <= truth <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_errors_that_go_by_speaker_widen_the_interval():
    counts = [ErrorCounts(substitutions=e, reference_length=10) for e in [0] * 30 + [6] * 30]
    speakers = [str(i // 10) for i in range(60)]
    by_utterance, by_speaker = bootstrap_interval(counts), bootstrap_interval(counts, speakers)
    assert by_speaker[1] - by_speaker[0] > 1.5 * (by_utterance[1] - by_utterance[0])


def test_an_interval_is_repeatable_and_holds_the_rate():
    counts = [ErrorCounts(e % 3, 0, 0, 7) for e in range(40)]
    low, high = bootstrap_interval(counts)
    assert (low, high) == bootstrap_interval(counts)
    assert low < sum(counts, ErrorCounts()).rate < high
    assert bootstrap_interval([]) == (0.0, 0.0)
