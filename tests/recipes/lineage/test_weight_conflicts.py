"""Gates and weight conflicts in a reduced form, and what a frozen gate is."""

import numpy as np
import pytest

from recipes.lineage import weight_conflicts
from recipes.lineage.experiment import Settings
from recipes.lineage.weight_conflicts import FREE, network, store_and_recall, train


def test_the_target_is_the_marked_value_at_the_end_and_nothing_before():
    x, y = store_and_recall(np.random.default_rng(0), 50)
    values, store, recall = x.transpose(1, 0, 2)
    assert (store.sum(0) == 1).all()
    assert np.array_equal(recall.sum(0), recall[-1])
    assert not y[:-1].any()
    assert np.array_equal(y[-1, 0], (values * store).sum(0))


@pytest.mark.parametrize("frozen", ["i", "o", "io"])
def test_a_frozen_gate_is_open_and_stays_so_in_training(frozen):
    net, _, _ = train(frozen, 0, 3)
    trace = weight_conflicts.trace_of(net)
    for gate, name in (("i", "input gate"), ("o", "output gate")):
        assert (min(map(min, trace[name])) == 1.0) == (gate in frozen)


def test_all_forms_begin_with_the_same_other_weights():
    free, frozen = network("", 5), network("o", 5)
    rows = np.ones(len(free.weight), bool)
    rows[free.rows("o")] = False
    np.testing.assert_array_equal(free.weight[rows], frozen.weight[rows])
    np.testing.assert_array_equal(free.readout, frozen.readout)


def test_free_gates_learn_what_frozen_ones_do_not():
    result = weight_conflicts.run(Settings(reduced=True))
    right = result.numbers["share of sequences right"]
    assert min(right[FREE]) >= weight_conflicts.SHARE
    assert max(right["both open"]) < 0.5
