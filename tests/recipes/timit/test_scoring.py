"""Ways to count errors, by hand and by NIST's sclite."""

import re

import numpy as np
import pytest

from asr.scoring.nist import trn_line
from asr.types import CorpusError
from recipes.timit.scoring import PER, SCORINGS, merge_silences, optional_silence_errors

REFERENCE = "h# sh ix q kcl k ae n gcl g pau h#"  # in 39: sil sh ih sil k ae n sil g sil sil


def errors(scoring, reference, hypothesis):
    counts = SCORINGS[scoring].count(reference, hypothesis)
    return counts.substitutions, counts.deletions, counts.insertions, counts.reference_length


@pytest.mark.parametrize(
    ("scoring", "hypothesis", "expected"),
    [
        ("every-sil", "h# sh ih tcl k ae n bcl g epi pau", (0, 0, 0, 11)),
        ("every-sil", "h# sh ix kcl k ae n gcl g h#", (0, 1, 0, 11)),
        ("every-sil", "sh ix k ae n g", (0, 5, 0, 11)),
        ("every-sil", "h# zh ix dcl k aa n gcl g h# h# h#", (1, 0, 1, 11)),
        ("merged-sil", "h# sh ix kcl k ae n gcl g h#", (0, 0, 0, 10)),
        ("merged-sil", "h# pau sh ix kcl q pau k ae n gcl g h#", (0, 0, 0, 10)),
        ("merged-sil", "sh ix k ae n g", (0, 4, 0, 10)),
        ("optional-sil", "sh ix k ae n g", (0, 0, 0, 11)),
        ("optional-sil", "sh ix k n g", (0, 1, 0, 11)),
        ("optional-sil", "h# sh ix kcl k ae pau n gcl g h#", (0, 0, 1, 11)),
        ("61", REFERENCE, (0, 0, 0, 12)),
        ("61", "h# sh ih kcl k ae n gcl g pau h#", (1, 1, 0, 12)),
    ],
)
def test_errors_are_counted_as_the_convention_says(scoring, hypothesis, expected):
    assert errors(scoring, REFERENCE, hypothesis) == expected


def test_every_silence_counts_unless_asked_otherwise():
    assert SCORINGS["every-sil"] is PER
    assert all(metric.convention for metric in SCORINGS.values())


def test_labels_that_a_model_does_not_have_cannot_be_scored():
    with pytest.raises(CorpusError, match="61"):
        errors("61", "sil aa", "sil aa")


def test_only_silences_are_merged():
    assert merge_silences("sil sil aa aa sil b sil sil".split()) == "sil aa aa sil b sil".split()


def test_optional_silences_are_counted_as_sclite_does(sctk, tmp_path):
    rng = np.random.default_rng(3)
    names = ["sil", "sil", "a", "b", "c"]
    pairs = [
        tuple(list(rng.choice(names, size=rng.integers(1, 9))) for _ in range(2))
        for _ in range(200)
    ]
    optional = SCORINGS["optional-sil"].optional
    for name, side, marked in (("reference", 0, optional), ("hypothesis", 1, ())):
        rows = (trn_line(f"{n}", "s", pair[side], marked) for n, pair in enumerate(pairs))
        (tmp_path / name).write_text("".join(rows))
    files = ["-r", tmp_path / "reference", "trn", "-h", tmp_path / "hypothesis", "trn"]
    told = sctk("sclite", "-D", "-i", "rm", *files, "-o", "pra", "stdout")
    scores = re.findall(r"id: \(s-(\d+)\)\s+Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)", told)
    assert len(scores) == len(pairs)
    for number, _, *counts in scores:
        reference, hypothesis = pairs[int(number)]
        ours = optional_silence_errors(reference, hypothesis)
        theirs = tuple(map(int, counts))
        assert (ours.substitutions, ours.deletions, ours.insertions) == theirs
