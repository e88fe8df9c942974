"""The simulated servers beside what queueing theory knows, and beside the autoscaler's rules."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.queueing import Autoscaler, Capacity, poisson, simulate


def exponential(count: int) -> list[float]:
    """Works of a second on average."""
    return np.random.default_rng(1).exponential(1.0, count).tolist()


def erlang_c(load: float, cores: int) -> float:
    """The share of calls that wait, in a queue without end (Erlang 1917)."""
    busy = load**cores / math.factorial(cores) * cores / (cores - load)
    return busy / (sum(load**n / math.factorial(n) for n in range(cores)) + busy)


def erlang_b(load: float, cores: int) -> float:
    """The share of calls that are lost where none may wait."""
    parts = [load**n / math.factorial(n) for n in range(cores + 1)]
    return parts[-1] / sum(parts)


@pytest.mark.parametrize("use", [0.5, 0.8])
def test_equal_works_wait_as_pollaczek_and_khinchine_say(use):
    calls = poisson([use] * 200, 1000.0, [1.0])
    outcome = simulate(calls, Capacity(cores=1, places=10**9))
    assert np.mean(outcome.latencies) - 1 == pytest.approx(use / (2 * (1 - use)), rel=0.05)


def test_several_cores_wait_as_erlang_says():
    calls = poisson([2.4] * 40, 1000.0, exponential(40_000))
    outcome = simulate(calls, Capacity(cores=3, places=10**9))
    assert np.mean(outcome.latencies) - 1 == pytest.approx(erlang_c(2.4, 3) / 0.6, rel=0.1)


@pytest.mark.parametrize("use", [0.5, 0.8])
def test_calls_that_share_a_core_take_as_long_as_processor_sharing_says(use):
    """By how much a call is lengthened depends on the use alone (Kleinrock 1967)."""
    calls = poisson([use] * 50, 1000.0, exponential(50_000))
    outcome = simulate(calls, Capacity(cores=1, slots=10**9, places=10**9))
    assert np.mean(outcome.latencies) == pytest.approx(1 / (1 - use), rel=0.06)


def test_without_a_place_to_wait_as_many_are_lost_as_erlang_says():
    calls = poisson([4.0] * 20, 1000.0, exponential(100_000))
    outcome = simulate(calls, Capacity(cores=4, places=4, refusal=0.0))
    assert outcome.refused_share == pytest.approx(erlang_b(4.0, 4), rel=0.03)


def test_at_five_times_the_load_refusals_take_their_share():
    """Of each second ``(5 - g) * refusal`` go to refusals, and the rest to ``g`` calls."""
    calls = poisson([50.0] * 20, 10.0, [0.1])
    outcome = simulate(calls, Capacity(cores=1, places=16, refusal=0.002))
    goodput = len(outcome.latencies) / 200 / 10
    assert goodput == pytest.approx((1 - 50 * 0.002) / (1 - 10 * 0.002), rel=0.03)


def test_calls_that_wait_take_less_where_batches_save_work():
    calls = [(0.0, 1.0), (0.0, 1.0), (0.0, 1.0)]
    outcome = simulate(calls, Capacity(cores=1, places=8, batched=0.5))
    assert outcome.latencies == [1.0, 1.5, 2.0]


SCALER = Autoscaler(least=1, most=20)


def test_the_autoscaler_finds_the_number_of_servers_that_the_load_needs():
    """14 cores' work keeps ten servers of two at 70 %."""
    calls = [(second / 14, 1.0) for second in range(14 * 1200)]
    outcome = simulate(calls, Capacity(cores=2), SCALER, servers=8)
    assert outcome.most_servers == 10
    assert outcome.refused == 0
    assert outcome.server_seconds == pytest.approx(10 * 1200, rel=0.01)


def test_it_follows_a_burst_up_at_once_and_down_after_its_settling_time():
    quiet, burst = [1.0] * 10, [10.0] * 10  # minutes
    calls = poisson(quiet + burst + quiet, 60.0, [1.0])
    outcome = simulate(calls, Capacity(cores=2, places=200), SCALER)
    assert 8 <= outcome.most_servers <= 16
    slow = simulate(calls, Capacity(cores=2, places=200), Autoscaler(least=1, most=20, start=300.0))
    assert slow.refused > outcome.refused
    assert slow.percentile(95) > outcome.percentile(95)
    always = simulate(calls, Capacity(cores=2, places=200), servers=outcome.most_servers)
    assert outcome.server_seconds < 0.8 * always.server_seconds
    assert always.refused == 0


def test_a_server_that_starts_takes_no_calls_until_it_is_ready():
    calls = poisson([4.0] * 2, 20.0, [1.0])
    scaler = Autoscaler(least=1, most=4, start=1000.0)
    outcome = simulate(calls, Capacity(cores=1, places=4), scaler)
    assert outcome.most_servers > 1
    assert len(outcome.latencies) == pytest.approx(40 / 1.0, abs=6)
