"""Error counts, with jiwer as the oracle."""

from __future__ import annotations

import itertools
import re

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.scoring import (
    NIST_COSTS,
    ErrorCounts,
    align,
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


@given(letters, letters)
def test_of_the_shortest_paths_one_with_most_tokens_right_is_taken(reference, hypothesis):
    found = token_errors(reference, hypothesis)
    best = jiwer.process_characters([reference], [hypothesis]) if reference else None
    if best is not None:
        assert found.substitutions <= best.substitutions
        assert found.total == best.substitutions + best.deletions + best.insertions


def test_a_shift_is_a_deletion_and_an_insertion():
    assert token_errors("abcd", "bcde") == ErrorCounts(0, 1, 1, 4)
    assert token_errors("xxxpq", "pqyyy") == ErrorCounts(5, 0, 0, 5)
    assert token_errors("xxxpq", "pqyyy", NIST_COSTS) == ErrorCounts(0, 3, 3, 5)


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_alignments_with_the_costs_of_sclite_are_those_of_sclite(corrupted, sctk, tmp_path, rate):
    references, hypotheses = corrupted(1, 300, rate)
    for name, sentences in (("ref", references), ("hyp", hypotheses)):
        lines = (f"{' '.join(s)} (s-{number:03})\n" for number, s in enumerate(sentences))
        (tmp_path / name).write_text("".join(lines))
    files = ["-r", tmp_path / "ref", "trn", "-h", tmp_path / "hyp", "trn", "-i", "spu_id"]
    report = sctk("sclite", *files, "-s", "-o", "sgml", "stdout")
    paths = re.findall(r'<PATH id="\(s-(\d+)\)"[^>]*>\n(.*)\n', report)
    assert len(paths) == 300
    for number, path in paths:
        reference, hypothesis = references[int(number)], hypotheses[int(number)]
        expected = [step.partition(",")[0] for step in path.split(":") if step]
        found = [
            "I" if i < 0 else "D" if j < 0 else "C" if reference[i] == hypothesis[j] else "S"
            for i, j in align(reference, hypothesis, NIST_COSTS)
        ]
        assert found == expected
    totals = [token_errors(r, h).total for r, h in zip(references, hypotheses, strict=True)]
    nist = [
        token_errors(r, h, NIST_COSTS).total for r, h in zip(references, hypotheses, strict=True)
    ]
    assert all(shortest <= other for shortest, other in zip(totals, nist, strict=True))
