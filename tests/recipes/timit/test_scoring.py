"""Ways to count errors, by hand and by NIST's sclite."""

import json
import re

import numpy as np
import pytest

from asr.scoring.nist import trn_line
from asr.types import ConfigError, CorpusError
from recipes.common.cli import main
from recipes.common.outcomes import Seeds, read_outcome
from recipes.timit.__main__ import RECIPE
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


def result(path, scoring):
    """An utterance as `evaluate --scoring` leaves it: 2 of 12 labels are wrong, no class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    heard = "h# sh ih kcl k ae n gcl g pau h#"
    row = {"id": "u", "speaker": "s", "reference": REFERENCE, "hypothesis": heard}
    path.write_text(json.dumps(row) + "\n")
    options = {"metric": "PER", "scoring": scoring}
    path.with_suffix(".json").write_text(json.dumps({"options": options}))
    return path


@pytest.mark.parametrize(
    ("scoring", "rate"), [("61", 2 / 12), ("merged-sil", 0.0), ("every-sil", 0.0), (None, 0.0)]
)
def test_errors_of_a_result_are_counted_as_evaluate_counted_them(tmp_path, scoring, rate):
    outcome = read_outcome(result(tmp_path / "r.jsonl", scoring), PER, SCORINGS)
    assert outcome.rate == pytest.approx(rate)
    assert outcome.convention == SCORINGS[scoring or "every-sil"].convention


def test_seeds_that_were_counted_in_two_ways_have_no_mean(tmp_path):
    names = ("61", "every-sil")
    read = [read_outcome(result(tmp_path / f"{n}.jsonl", n), PER, SCORINGS) for n in names]
    with pytest.raises(ConfigError, match=r"39 classes.* and others .*61 labels"):
        Seeds(dict(enumerate(read)))
    with pytest.raises(ConfigError, match="scored by 'other'"):
        read_outcome(result(tmp_path / "r.jsonl", "other"), PER, SCORINGS)


def test_results_are_compared_as_they_were_scored_unless_asked_otherwise(tmp_path, capsys):
    files = [str(result(tmp_path / name / "r.jsonl", "61")) for name in "ab"]
    assert main(RECIPE, ["compare", *files]) == 0
    assert "61 labels" in capsys.readouterr().out
    assert main(RECIPE, ["compare", *files, "--scoring", "every-sil"]) == 0
    assert "39 classes, every sil" in capsys.readouterr().out


def test_a_row_of_a_report_says_how_errors_are_counted(toy, toy_data, tmp_path, capsys):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    toy.checkpoint(toy_data, run / "checkpoints" / "best.ckpt")
    (run / "config.yaml").write_text("seed_everything: 0\n")
    result(run / "results" / "dev.greedy.61.jsonl", "61")
    assert main(RECIPE, ["report", str(run), "--result", "dev.greedy.61"]) == 0
    row = capsys.readouterr().out.splitlines()[2]
    assert "| 16.67 | 61 labels, every one counts |" in row
