"""Joined utterances: their samples, their pauses, and the limits of a batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.augment import JoinConfig, groups_to_join, join
from asr.types import ConfigError

RATE = 16_000


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.floats(0.1, 12.0), min_size=1, max_size=16),
    st.integers(2, 4),
    st.floats(0.0, 1.0),
    st.floats(1.0, 30.0),
    st.floats(0.0, 2.0),
    st.integers(0, 99),
)
def test_each_utterance_is_in_one_group_and_no_limit_is_passed(
    seconds, number, pause, most_seconds, added, seed
):
    most = max(seconds) * len(seconds)  # the batch as the sampler has planned it
    config = JoinConfig(number, 0.0, pause, most_seconds, probability=1.0)
    groups = groups_to_join(config, seconds, most, added, np.random.default_rng(seed))
    assert [index for group in groups for index in group] == list(range(len(seconds)))
    if len(groups) < len(seconds):
        lengths = [sum(seconds[i] for i in g) + (len(g) - 1) * pause for g in groups]
        assert max(lengths) <= most_seconds
        assert (max(lengths) + added) * len(groups) <= most
        assert max(map(len, groups)) <= number


def test_a_share_of_the_batches_is_joined_by_twos_and_threes():
    config = JoinConfig(3, probability=0.6)
    rng = np.random.default_rng(0)
    sizes = [len(groups_to_join(config, [2.0] * 6, 120.0, 0.0, rng)) for _ in range(600)]
    assert set(sizes) == {2, 3, 6}
    assert 0.5 < np.mean([size < 6 for size in sizes]) < 0.7


def test_three_that_do_not_fit_are_joined_by_twos():
    config = JoinConfig(3, max_seconds=9.0, probability=1.0)
    groups = [
        groups_to_join(config, [4.0] * 6, 120.0, 0.0, np.random.default_rng(n)) for n in range(9)
    ]
    assert groups == [[[0, 1], [2, 3], [4, 5]]] * 9


def test_the_samples_of_all_stand_in_their_order_with_pauses_within_the_range():
    config = JoinConfig(min_pause=0.2, max_pause=0.6)
    parts = [
        np.full(1000 * n, n / 4, "f4") * np.tile([1, -1], 500 * n).astype("f4") for n in (1, 2, 3)
    ]
    pauses = []
    for seed in range(50):
        joined = join(config, parts, RATE, np.random.default_rng(seed))
        loud = np.flatnonzero(np.abs(joined) > 0.2)
        assert np.array_equal(joined[loud], np.concatenate(parts))
        pauses += (np.diff(loud)[np.diff(loud) > 1] / RATE).tolist()
    assert len(pauses) == 100
    assert min(pauses) >= 0.2
    assert max(pauses) <= 0.601
    assert np.histogram(pauses, 4, (0.2, 0.6))[0].min() > 10


def test_of_nothing_there_is_nothing():
    rng = np.random.default_rng(0)
    assert groups_to_join(JoinConfig(probability=1.0), [], 120.0, 0.0, rng) == []
    nothing = np.zeros(0, np.float32)
    assert not join(JoinConfig(), [nothing, nothing], RATE, rng).any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_utterances": 1},
        {"min_pause": -0.1},
        {"min_pause": 0.9},
        {"max_seconds": 0.0},
        {"probability": 3.0},
    ],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"join: .*{next(iter(wrong))}"):
        JoinConfig(**wrong)
