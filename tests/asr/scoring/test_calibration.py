"""Reliability of confidences."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from asr.scoring import (
    ReliabilityBin,
    calibration_error,
    reliability,
    reliability_by_count,
    right_tokens,
)


def test_honest_confidences_have_no_calibration_error():
    rng = np.random.default_rng(0)
    confidences = rng.random(200_000)
    right = rng.random(200_000) < confidences
    bins = reliability(confidences, right)
    assert calibration_error(bins) < 0.005
    assert sum(each.count for each in bins) == 200_000
    for each in bins:
        assert each.low < each.confidence <= each.high
        assert each.accuracy == pytest.approx(each.confidence, abs=0.02)


def test_what_is_always_sure_is_wrong_by_its_errors():
    right = [True] * 70 + [False] * 30
    assert calibration_error(reliability([1.0] * 100, right)) == pytest.approx(0.3)
    assert calibration_error(reliability([0.0] * 100, right)) == pytest.approx(0.7)


def test_too_sure_of_some_and_too_unsure_of_others_does_not_cancel():
    confidences, right = [0.95] * 50 + [0.05] * 50, [False] * 50 + [True] * 50
    assert calibration_error(reliability(confidences, right)) == pytest.approx(0.95)


def test_no_words_no_error():
    assert calibration_error(reliability([], [])) == 0.0


def test_a_bin_has_its_upper_end():
    counts = [each.count for each in reliability([0.0, 0.1, 0.2, 1.0], [True] * 4)]
    assert counts == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]


def test_bins_of_as_many_words_each_hold_every_word_in_order():
    rng = np.random.default_rng(1)
    confidences = 1 - rng.random(10_000) ** 4  # most are high, as those of a good model
    right = rng.random(10_000) < confidences
    bins = reliability_by_count(confidences, right)
    assert len(bins) == 15
    assert [each.count for each in bins] == pytest.approx([10_000 / 15] * 15, abs=1)
    assert [bins[0].low, bins[-1].high] == [0.0, 1.0]
    for before, after in pairwise(bins):
        assert before.confidence < before.high == after.low <= after.confidence
    assert calibration_error(bins) < 0.02


@pytest.mark.parametrize(("count", "bins"), [(0, 1), (1, 1), (99, 1), (100, 2), (5000, 15)])
def test_few_words_have_few_bins(count, bins):
    confidences = np.linspace(0, 1, count)
    found = reliability_by_count(confidences, [True] * count)
    assert (len(found), sum(each.count for each in found)) == (bins if count else 0, count)


def test_words_of_one_confidence_are_in_one_bin():
    confidences = [1.0] * 700 + [0.5] * 300
    right = [True] * 700 + [False] * 300
    low, high = reliability_by_count(confidences, right)
    assert (low.count, low.accuracy, high.count, high.accuracy) == (300, 0.0, 700, 1.0)


@pytest.mark.parametrize(("right", "count"), [(0, 5), (9, 10), (180, 200), (60, 60)])
def test_the_interval_of_a_share_is_that_of_scipy(right, count):
    stats = pytest.importorskip("scipy.stats")
    theirs = stats.binomtest(right, count).proportion_ci(0.95, "wilson")
    mine = ReliabilityBin(0.0, 1.0, count, 0.5, right / count).interval
    assert mine == pytest.approx((theirs.low, theirs.high), abs=1e-6)
    assert ReliabilityBin(0.0, 1.0, 0, 0.0, 0.0).interval == (0.0, 1.0)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "right"),
    [
        ("a b c", "a x c", [True, False, True]),
        ("a b", "c a b", [False, True, True]),
        ("", "a", [False]),
        ("a", "", []),
    ],
)
def test_right_tokens(reference, hypothesis, right):
    assert right_tokens(reference.split(), hypothesis.split()) == right
