"""Gates and weight conflicts in a reduced form, and what a frozen gate is."""

import pytest
import torch

from recipes.lineage import weight_conflicts
from recipes.lineage.experiment import Settings
from recipes.lineage.weight_conflicts import Network, store_and_recall, train


def test_the_target_is_the_marked_value_at_the_end_and_nothing_before():
    x, y = store_and_recall(torch.Generator().manual_seed(0), 50)
    values, store, recall = x.unbind(2)
    assert (store.sum(0) == 1).all()
    assert torch.equal(recall.sum(0), recall[-1])
    assert not y[:-1].any()
    assert torch.equal(y[-1, :, 0], (values * store).sum(0))


@pytest.mark.parametrize("frozen", ["i", "o", "io"])
def test_a_frozen_gate_is_open_and_stays_so_in_training(frozen):
    network, _ = train(frozen, 0, 3)
    layer = network.layer
    for gate in layer.cell.gates:
        rows = slice(layer.cell.gates.index(gate) * 2, layer.cell.gates.index(gate) * 2 + 2)
        held = gate in frozen
        assert (not layer.weight_ih[0, rows].any()) == held
        assert (not layer.weight_hh[0, rows].any()) == held
        assert bool((layer.bias[0, rows] == weight_conflicts.OPEN).all()) == held
    trace = weight_conflicts.trace_of(network)
    for gate, name in (("i", "input gate"), ("o", "output gate")):
        assert (min(map(min, trace[name])) == 1.0) == (gate in frozen)


def test_a_free_network_is_that_of_the_layer():
    torch.manual_seed(0)
    free = Network("")
    x, _ = store_and_recall(torch.Generator().manual_seed(0), 3)
    torch.testing.assert_close(free(x), free.readout(free.recurrent(x)[0]))


def test_free_gates_learn_what_frozen_ones_do_not():
    result = weight_conflicts.run(Settings(reduced=True))
    right = result.numbers["share of sequences right"]
    assert min(right["both gates free"]) >= weight_conflicts.SHARE
    assert max(right["both open"]) < 0.5
    assert result.holds
