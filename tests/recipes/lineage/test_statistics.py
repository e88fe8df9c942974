"""Intervals and tests against scipy, and against numbers in print."""

import numpy as np
import pytest
from scipy import stats

from recipes.lineage.statistics import compare, fisher, paired, share, wilson

COUNTS = [
    (7, 8, 2, 8),
    (0, 50, 50, 50),
    (3, 10, 3, 10),
    (1, 64, 5, 64),
    (0, 5, 0, 5),
    (60, 64, 3, 64),
]


@pytest.mark.parametrize(("one", "of_one", "other", "of_other"), COUNTS)
def test_fishers_test_and_wilsons_interval_are_scipys(one, of_one, other, of_other):
    table = [[one, of_one - one], [other, of_other - other]]
    assert fisher(one, of_one, other, of_other) == pytest.approx(stats.fisher_exact(table).pvalue)
    expected = stats.binomtest(one, of_one).proportion_ci(method="wilson")
    assert wilson(one, of_one) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_a_difference_is_that_of_newcombes_table():
    found = compare(56, 70, 48, 80)  # Newcombe 1998, table II, (a), method 10
    assert (found.difference, found.low, found.high) == pytest.approx(
        (0.2, 0.0524, 0.3339), abs=5e-5
    )


@pytest.mark.parametrize(("one", "of_one", "other", "of_other"), COUNTS)
def test_a_difference_turns_its_sign_with_its_shares(one, of_one, other, of_other):
    there, back = compare(one, of_one, other, of_other), compare(other, of_other, one, of_one)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p == pytest.approx(back.p)


def test_the_smallest_difference_seen_is_the_first_whose_interval_leaves_zero():
    found = compare(10, 50, 8, 50)
    assert found.low < 0 < found.high
    more = round(50 * (8 / 50 + found.smallest))
    assert compare(more, 50, 8, 50).low > 0 >= compare(more - 1, 50, 8, 50).low
    assert "would have been seen" in str(found)
    assert "would have been seen" not in str(compare(40, 50, 8, 50))


def test_signs_are_tried_exactly_for_few_pairs():
    differences = [0.5, 1.0, -0.2, 0.8, 0.3, 0.9]
    expected = stats.permutation_test(
        (np.array(differences),), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert paired(differences).p == pytest.approx(expected.pvalue)
    assert paired([1.0] * 5).p == pytest.approx(2 / 32)


def test_the_bootstrap_agrees_with_the_normal_interval_for_many_pairs():
    values = np.random.default_rng(0).normal(0.3, 1.0, 400)
    found = paired(values.tolist())
    half = 1.96 * values.std(ddof=1) / 20
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.02
    )
    assert found.p < 0.001


def test_what_would_have_been_seen_is_said_where_nothing_was():
    values = np.random.default_rng(0).normal(0.0, 1.0, 400)
    centred = (values - values.mean()).tolist()
    assert paired(centred).unseen == pytest.approx(1.96 * values.std(ddof=1) / 20, abs=0.01)
    assert paired((values + 1).tolist()).unseen is None


def test_a_share_is_read_with_its_interval():
    assert share(7, 8) == "7 of 8 (53 to 98 %)"


def test_where_nearly_all_succeed_no_difference_could_have_been_seen():
    assert compare(50, 50, 48, 50).cells[2] == "none"
    assert "of no size would have been seen" in str(compare(50, 50, 48, 50))
