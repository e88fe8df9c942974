"""Files for NIST's sclite, which counts in them what we count."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.scoring import NIST_COSTS, ErrorCounts, token_errors
from asr.scoring.nist import ctm_lines, nist_id, nist_word, stm_line, trn_line
from asr.types import Word

SPEAKERS = ("anna-lena", "b_2", None, "c(d)")
# What means something to sclite, or looks as if it did.
ODD = {"a": "A", "b": "a", "c": "{a/b}", "da": ";;", "eb": "@", "": "<x>"}


@pytest.fixture(params=[0.2, 0.9])
def sentences(corrupted, request):
    """References and hypotheses with words that are hard to write."""
    return tuple(
        [[ODD[word] for word in sentence] for sentence in side]
        for side in corrupted(5, 120, request.param)
    )


def counted(report):
    """The sums of all: substitutions, deletions, insertions and reference words."""
    found = re.findall(r"Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)", report)
    correct, substitutions, deletions, insertions = np.array(found, dtype=int).sum(axis=0).tolist()
    length = correct + substitutions + deletions
    return ErrorCounts(substitutions, deletions, insertions, length), len(found)


def expected(references, hypotheses):
    pairs = zip(references, hypotheses, strict=True)
    return sum((token_errors(r, h, NIST_COSTS) for r, h in pairs), ErrorCounts())


def test_sclite_counts_the_same_in_trn(sentences, sctk, tmp_path):
    for name, side in zip(("ref", "hyp"), sentences, strict=True):
        lines = (trn_line(f"ut t-{n:03}", SPEAKERS[n % 4], s) for n, s in enumerate(side))
        (tmp_path / name).write_text("".join(lines))
    files = ["-r", tmp_path / "ref", "trn", "-h", tmp_path / "hyp", "trn", "-i", "spu_id"]
    report = sctk("sclite", *files, "-s", "-o", "pralign", "stdout")
    assert counted(report) == (expected(*sentences), 120)
    assert len(re.findall(r"Speaker sentences", report)) == len(SPEAKERS)


def test_sclite_counts_the_same_in_stm_and_ctm(sentences, sctk, tmp_path):
    references, hypotheses = sentences
    names = [f"ut t-{n:03}" for n in range(120)]
    stm = [
        stm_line(n, SPEAKERS[i % 4], 2.0, r)
        for i, (n, r) in enumerate(zip(names, references, strict=True))
    ]
    ctm = []
    for name, words in zip(names, hypotheses, strict=True):
        times = np.linspace(0.0, 2.4, len(words) + 1)  # the last may end after the audio
        timed = [Word(w, times[k], times[k + 1], 0.5) for k, w in enumerate(words)]
        ctm += ctm_lines(name, 2.0, timed)
    (tmp_path / "ref").write_text("".join(stm))
    (tmp_path / "hyp").write_text("".join(ctm))
    files = ["-r", tmp_path / "ref", "stm", "-h", tmp_path / "hyp", "ctm"]
    report = sctk("sclite", *files, "-s", "-o", "pralign", "stdout")
    assert counted(report) == (expected(references, hypotheses), 120)


@given(st.lists(st.text(min_size=1), min_size=2, max_size=2, unique=True))
def test_different_words_stay_different_and_without_space(words):
    one, other = map(nist_word, words)
    assert one != other
    assert len(one.split()) == 1
    assert not set(one) & set("{}()<>@;")


def test_words_that_mean_nothing_stay_as_they_are():
    assert [nist_word(word) for word in ("don't", "Äpfel", "x-ray", "h#")] == [
        "don't",
        "Äpfel",
        "x-ray",
        "h#",
    ]
    assert nist_id(None) == "unknown"
