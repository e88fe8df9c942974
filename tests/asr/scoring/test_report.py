"""Alignments and confusions as people read them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from asr.scoring import token_errors
from asr.scoring.report import alignment_lines, confusion_lines, shown

words = st.lists(st.sampled_from(["a", "bee", "日本", "é"]), max_size=7)


def test_an_alignment_reads_like_this():
    lines = alignment_lines("the cat sat on it".split(), "a the hat sat it".split())
    assert lines == [
        "REF: * the cat sat on it",
        "HYP: a the hat sat ** it",
        "     I     S       D",
    ]


def test_what_is_right_needs_no_marks():
    assert alignment_lines(["a"], ["a"]) == ["REF: a", "HYP: a"]
    assert alignment_lines([], []) == ["REF:", "HYP:"]


@given(words, words)
def test_tokens_stand_below_each_other_and_marks_are_the_errors(reference, hypothesis):
    lines = alignment_lines(reference, hypothesis)
    said, heard, marks = [*lines, ""][:3]
    counts = token_errors(reference, hypothesis)
    assert [marks.count(mark) for mark in "SDI"] == [
        counts.substitutions,
        counts.deletions,
        counts.insertions,
    ]
    rows = [line.split()[1:] for line in (said, heard)]
    assert [word for word in rows[0] if "*" not in word] == reference
    assert [word for word in rows[1] if "*" not in word] == hypothesis
    starts = [[cell_len(line[:i]) for i in begins(line)] for line in (said, heard)]
    assert starts[0] == starts[1]


def begins(line):
    """Where the words of a line begin."""
    return [i for i in range(1, len(line)) if line[i] != " " and line[i - 1] == " "]


def test_confusions_are_counted_by_kind_with_the_rest_told():
    pairs = [(["a", "b"], ["c"])] * 3 + [(["a"], ["d"]), (["a"], ["a", " "])]
    assert confusion_lines(pairs, 1) == [
        "substitutions: 2 different",
        "     3  b -> c",
        "        and 1 more",
        "deletions: 1 different",
        "     3  a",
        "insertions: 1 different",
        "     1  <space>",
    ]
    assert confusion_lines([], 5)[0] == "substitutions: 0 different"
    assert shown(None) == "<nothing>"
