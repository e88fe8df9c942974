"""Tasks against their definitions, the bank against single networks; a small experiment."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import fisher_exact

from recipes.lineage.experiment import Settings
from recipes.lineage.timing import (
    EXPERIMENT,
    PEEPHOLE,
    PLAIN,
    PLAIN_WHOLE,
    SYSTEMS,
    Bank,
    Plan,
    by_chance,
    errors,
    learn,
    losses,
)
from recipes.lineage.timing_tasks import TASKS, curve, measured_delays, timed_spikes

MSD, GTS = TASKS[0], TASKS[2]


def test_delays_are_told_at_the_spike_that_ends_them():
    batch = measured_delays(np.random.default_rng(0), 10, 20, 50)
    for b in range(50):
        spikes = torch.nonzero(batch.inputs[:, b, 0]).flatten()
        assert spikes[0] == 0
        assert len(spikes) == 21
        assert torch.nonzero(batch.counts[:, b]).flatten().tolist() == spikes[1:].tolist()
        delays = spikes.diff()
        assert set(delays.tolist()) == {10, 11}
        assert batch.targets[spikes[1:], b].tolist() == (delays == 11).float().tolist()


def test_spikes_and_curves_are_periodic():
    spikes = timed_spikes(4, 3)
    assert spikes.targets[:, 0].tolist() == [0, 0, 0, 1] * 3
    assert not spikes.inputs.any()
    for shape, values in (
        ("cosine", [0, 0.5, 1, 0.5]),
        ("triangle", [0, 0.5, 1, 0.5]),
        ("rectangle", [0, 0, 1, 1]),
    ):
        assert curve(shape, 4, 2).targets[:, 0].tolist() == pytest.approx(values * 2, abs=1e-6)


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.label)
def test_networks_side_by_side_learn_as_each_would_alone(system):
    plan = Plan(updates=20, cells=2)
    alone, among = (learn(MSD, system, replace(plan, seeds=seeds)) for seeds in (1, 3))
    batch = MSD.test(np.random.default_rng(1))
    untrained = Bank(system, 2, 1)
    with torch.no_grad():
        torch.testing.assert_close(
            among(batch.inputs)[..., :1], alone(batch.inputs), atol=1e-4, rtol=1e-4
        )
        assert (untrained(batch.inputs) - alone(batch.inputs)).abs().max() > 0.01


def test_without_trained_peepholes_both_cells_begin_alike():
    batch = MSD.test(np.random.default_rng(1))
    with torch.no_grad():
        first, second = (Bank(system, 3, 2)(batch.inputs) for system in (PLAIN, PEEPHOLE))
    torch.testing.assert_close(first, second)


def test_a_stream_is_heard_up_to_its_first_error():
    bank = Bank(PLAIN, 1, 1)
    with torch.no_grad():
        bank.out.zero_()
        bank.out_bias.fill_(-2.0)  # never a spike: the first error is at the first spike
    off = torch.sigmoid(torch.tensor(-2.0))
    expected = (9 * off**2 + (1 - off) ** 2) / 10
    batch = GTS.train(np.random.default_rng(0))
    torch.testing.assert_close(losses(GTS, bank, batch), expected.reshape(1))
    assert errors(GTS, bank) == pytest.approx([0.1])


@pytest.mark.parametrize(("more", "fewer"), [(7, 2), (10, 0), (3, 3), (1, 5)])
def test_chance_is_that_of_fishers_test(more, fewer):
    table = [[more, 10 - more], [fewer, 10 - fewer]]
    assert by_chance(more, fewer, 10) == pytest.approx(fisher_exact(table, "greater").pvalue)


def test_delays_are_learnt_and_better_by_the_whole_gradient():
    result = EXPERIMENT.run(Settings(reduced=True))
    json.dumps(result.numbers, allow_nan=False)
    found = result.numbers["errors"][MSD.name]
    assert min(found[PLAIN_WHOLE.label]) < 0.05  # guessing: 0.5
    assert np.mean(found[PLAIN_WHOLE.label]) < np.mean(found[PLAIN.label])
