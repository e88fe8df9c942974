"""Reliability of confidences."""

from __future__ import annotations

import numpy as np
import pytest

from asr.scoring import calibration_error, reliability, right_tokens


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
