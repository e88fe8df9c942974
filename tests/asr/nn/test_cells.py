"""The lineage of cells: which gates see what, and who differs from whom how."""

import pytest
import torch

from asr.nn.cells import CELLS

H = 4


def run(cell, nets, c, peepholes=None):
    """One step of a cell of scalars or rows; peepholes are 0 unless given."""
    zeros = {g: torch.zeros(H) for g in CELLS[cell].peepholes}
    weights = {**zeros, **(peepholes or {})}
    m, c, acts = CELLS[cell].step(
        tuple(nets[g] for g in CELLS[cell].gates),
        c,
        tuple(weights[g] for g in CELLS[cell].peepholes),
    )
    return m, c, dict(zip(CELLS[cell].gates, acts, strict=True))


def nets(seed=0, **fixed):
    torch.manual_seed(seed)
    drawn = {g: torch.randn(H) for g in "ifzoh"}
    return {**drawn, **{g: torch.full((H,), value) for g, value in fixed.items()}}


def test_the_lineage_is_complete_and_in_order():
    assert list(CELLS) == ["rnn", "lstm-1997", "lstm", "peephole", "coupled"]


def test_the_carousel_of_1997_keeps_what_is_in_it():
    c = torch.randn(H)
    _, kept, _ = run("lstm-1997", nets(i=-100.0), c)
    assert torch.equal(kept, c)


def test_a_forget_gate_empties_the_cell_and_an_open_one_makes_it_the_cell_of_1997():
    c = torch.randn(H)
    _, emptied, _ = run("lstm", nets(i=-100.0, f=-200.0), c)
    assert not emptied.any()
    both = [run(cell, nets(f=100.0), c)[:2] for cell in ("lstm", "lstm-1997")]
    torch.testing.assert_close(both[0], both[1])


def test_peepholes_of_zero_make_no_difference():
    c = torch.randn(H)
    torch.testing.assert_close(run("peephole", nets(), c), run("lstm", nets(), c))


def test_input_and_forget_gate_see_the_old_state_and_the_output_gate_the_new():
    c, w = torch.randn(H), torch.full((H,), 0.7)
    before = run("peephole", nets(), c)
    for gate, seen in (("i", c), ("f", c), ("o", before[1])):
        _, _, acts = run("peephole", nets(), c, {gate: w})
        torch.testing.assert_close(acts[gate], torch.sigmoid(nets()[gate] + w * seen))


def test_the_coupled_cell_is_the_peephole_cell_that_forgets_what_it_writes():
    c = torch.randn(H)
    values = nets()
    values["f"] = -values["i"]  # σ(-x) = 1 - σ(x)
    torch.testing.assert_close(run("coupled", values, c)[:2], run("peephole", values, c)[:2])


@pytest.mark.parametrize("cell", CELLS)
def test_the_error_equations_are_the_derivative_of_the_step(cell):
    kind = CELLS[cell]
    generator = torch.Generator().manual_seed(1)

    def draw(count):
        return [
            torch.randn(H, dtype=torch.float64, generator=generator, requires_grad=True)
            for _ in range(count)
        ]

    net, [c], peepholes = draw(len(kind.gates)), draw(1), draw(len(kind.peepholes))
    m, c_after, acts = kind.step(tuple(net), c, tuple(peepholes))
    grad_m, grad_c = (x.detach() for x in draw(2))
    expected = torch.autograd.grad(
        [m, c_after], [*net, c], [grad_m, grad_c], allow_unused=True, materialize_grads=True
    )
    with torch.no_grad():
        d, grad_c_before = kind.back(acts, c, c_after, grad_m, grad_c, tuple(peepholes))
    torch.testing.assert_close((*d, grad_c_before), expected)
