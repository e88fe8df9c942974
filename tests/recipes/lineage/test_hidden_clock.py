"""Both tasks against their definitions, and the silent count in small."""

import json

import numpy as np
import pytest

from recipes.lineage.experiment import Settings
from recipes.lineage.hidden_clock import (
    EVENTS,
    EXPERIMENT,
    Plan,
    counter,
    doubled_interval,
    exact_share,
    silent_count,
)
from recipes.lineage.tiny import Net
from recipes.lineage.tiny import run as run_net


def test_the_spike_is_at_the_fifth_event_and_ends_what_counts():
    inputs, targets, counts = silent_count(np.random.default_rng(0), 300)
    for b in range(300):
        events = np.flatnonzero(inputs[:, 0, b])
        spikes = np.flatnonzero(targets[:, 0, b]).tolist()
        assert spikes == events[EVENTS - 1 : EVENTS].tolist()
        last = spikes[0] + 1 if spikes else len(inputs)
        assert counts[:, 0, b].tolist() == [1] * last + [0] * (len(inputs) - last)


def test_one_cell_says_what_it_shows():
    net = counter("peephole", 0, 1)
    inputs, _, _ = silent_count(np.random.default_rng(0), 4)
    trace = run_net(net, inputs)
    np.testing.assert_array_equal(trace.outputs[-1], trace.hidden)


def test_the_third_spike_is_as_far_as_the_second():
    plan = Plan()
    inputs, targets, goal = doubled_interval(np.random.default_rng(0), plan, 300)
    gaps = set()
    for b in range(300):
        first, second = np.flatnonzero(inputs[:, 0, b])
        assert np.flatnonzero(targets[:, 0, b]).tolist() == [2 * second - first] == [goal[b]]
        gaps.add(int(second - first))
    assert gaps <= set(range(30, 61))
    assert len(gaps) > 25


def test_a_network_that_says_nothing_is_seldom_exact():
    assert exact_share(Net("lstm", 1, 2, 1), Plan(), np.random.default_rng(0)) < 0.1


@pytest.mark.parametrize("first_seed", [0, 100, 200])
def test_only_peepholes_learn_the_silent_count(first_seed):
    result = EXPERIMENT.run(Settings(reduced=True, first_seed=first_seed))
    json.dumps(result.numbers, allow_nan=False)
    right = {f: [n[0] for n in those] for f, those in result.numbers["silent count"].items()}
    assert np.median(right["peepholes"]) > 0.9
    assert max(right["without peepholes"]) < 0.1
