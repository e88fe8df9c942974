"""The error flow in a reduced form: its direction, and its equality with the formulas."""

import math

import pytest
import torch

from asr.nn.cells import CELLS
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


@pytest.mark.parametrize("cell", error_flow.LSTMS)
@pytest.mark.parametrize("q", [1, 2, 10])
def test_all_paths_are_those_that_finite_differences_find(cell, q):
    net, weight_hh, peephole, h, c = error_flow.random_course(cell, 0)
    kind, first = CELLS[cell], len(c) - 1 - q
    peepholes = () if peephole is None else tuple(peephole[0])

    def end(state):
        nets = (net[first - 1, 0, 0] + weight_hh[0] @ h[first - 1]).chunk(len(kind.gates))
        gate = nets[-1] + (peepholes[-1] * state if peepholes else 0)
        shown = torch.sigmoid(gate) * torch.tanh(state)
        for step in range(first, len(net)):
            nets = (net[step, 0, 0] + weight_hh[0] @ shown).chunk(len(kind.gates))
            shown, state, _ = kind.step(nets, state, peepholes)
        return state

    def central(e):
        return end(c[first] + e) - end(c[first] - e)

    eps = 1e-3  # differences of fourth order: both their error and rounding are below 1e-10
    eye = eps * torch.eye(error_flow.H, dtype=torch.float64)
    found = [(8 * central(e) - central(2 * e)) / (12 * eps) for e in eye]
    measured = error_flow.all_paths(cell, net, weight_hh, peephole, h, c, q)
    torch.testing.assert_close(measured, torch.stack(found, dim=1), atol=1e-8, rtol=1e-7)
    torch.testing.assert_close(end(c[first]), c[-1], atol=1e-12, rtol=0)
