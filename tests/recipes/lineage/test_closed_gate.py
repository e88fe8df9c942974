"""What a shut gate hides, in small, and both measures against what is known."""

import json

import numpy as np
import pytest

from recipes.lineage.closed_gate import (
    EXPERIMENT,
    H,
    draw_network,
    information,
    sensitivity,
)
from recipes.lineage.experiment import Settings


@pytest.mark.parametrize("first_seed", [0, 100, 200])
def test_a_shut_gate_hides_the_cell_and_a_peephole_shows_it(first_seed):
    result = EXPERIMENT.run(Settings(reduced=True, first_seed=first_seed))
    json.dumps(result.numbers, allow_nan=False)
    assert result.holds
    plain, looking = (
        result.numbers["jacobian norms"][form] for form in ("without peepholes", "peepholes")
    )
    assert max(plain[0]) == 0 < min(looking[0])
    assert min(plain[1]) > 0


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_the_jacobian_is_that_of_differences(cell):
    seed, opening, eps = 4, 0.3, 1e-5
    net = draw_network(cell, seed)
    drawn = np.random.default_rng([seed, 2]).standard_normal(H + 1)

    def gates(c):
        seen = np.concatenate([drawn[H:], opening * np.tanh(c), [1.0]])
        i, f, z, o = (net.weight @ seen).reshape(4, H)
        looks = net.peephole
        sigma = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
        i, f, z = sigma(i + looks[0] * c), sigma(f + looks[1] * c), np.tanh(z)
        return np.concatenate([i, f, z, sigma(o + looks[2] * (f * c + i * z))])

    columns = [
        (gates(drawn[:H] + step) - gates(drawn[:H] - step)) / (2 * eps) for step in eps * np.eye(H)
    ]
    expected = np.linalg.norm(np.stack(columns, 1), 2)
    assert sensitivity(cell, opening, range(seed, seed + 1))[0] == pytest.approx(expected, rel=1e-6)


def test_gates_tell_nothing_of_a_cell_that_they_do_not_see():
    hidden = [information("lstm", 0.0, seed) for seed in range(8)]
    seen = [information("peephole", 0.0, seed) for seed in range(8)]
    assert abs(np.mean(hidden)) < 0.004  # the deviation of one is 0.0033
    assert np.mean(seen) > 10 * abs(np.mean(hidden))
    assert np.mean(seen) > 0.04
