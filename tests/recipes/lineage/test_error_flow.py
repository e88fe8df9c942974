"""The error flow in a reduced form: its direction, and its equality with the formulas."""

import math

import pytest

from recipes.lineage import error_flow
from recipes.lineage.experiment import Settings


@pytest.fixture(scope="module")
def result():
    return error_flow.run(Settings(reduced=True))


def test_the_error_vanishes_below_a_radius_of_one_and_explodes_above(result):
    for curve in result.numbers["rnn"]["0.7 at rest"] + result.numbers["rnn"]["0.7 driven"]:
        assert curve[-1] < 1e-6 * curve[0]
    for curve in result.numbers["rnn"]["1.4 at rest"]:
        assert curve[-1] > 1e6 * curve[0]


def test_it_stays_in_the_carousel(result):
    for curve in result.numbers["cells"]["lstm-1997 truncated"]:
        assert all(abs(value - 1) < 0.01 for value in curve)


def test_a_forget_gate_scales_it_by_its_activation_and_no_more(result):
    assert result.numbers["truncated_error"] < 1e-9
    for curve in result.numbers["cells"]["lstm truncated"]:
        assert 1e-6 < curve[-1] < curve[0] < 1


def test_autograd_equals_the_product_formula(result):
    assert result.numbers["formula_error"] < 1e-9


def test_the_verdict_follows(result):
    assert result.holds
    figures = [*result.numbers["rnn"].values(), *result.numbers["cells"].values()]
    assert all(math.isfinite(value) for curves in figures for curve in curves for value in curve)
