"""Long lags in a reduced form, and the tasks themselves."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.lineage import long_lags
from recipes.lineage.experiment import Settings


@given(lag=st.integers(2, 60))
@settings(max_examples=20, deadline=None)
def test_only_the_first_symbol_tells_the_two_sequences_apart(lag):
    x, y = long_lags.two_symbols(np.random.default_rng(0), lag, 2)
    assert x.shape == (lag, lag + 1, 2)
    assert (x.sum(1) == 1).all()
    assert not np.array_equal(x[0, :, 0], x[0, :, 1])
    assert np.array_equal(x[1:, :, 0], x[1:, :, 1])
    assert y.tolist() == [[1, 0], [0, 1]]


@given(lag=st.integers(6, 120), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_sum_is_of_the_two_marked_numbers_both_in_the_first_half(lag, seed):
    x, y = long_lags.adding(np.random.default_rng(seed), lag, 7)
    values, marks = x.transpose(1, 0, 2)
    assert (marks.sum(0) == 2).all()
    assert not marks[lag // 2 :].any()
    np.testing.assert_allclose((values * marks).sum(0) / 4 + 0.5, y[0], atol=1e-6)


@pytest.mark.parametrize("first_seed", [0, 100, 200])
def test_the_lstm_learns_to_add_and_the_rnn_does_not(first_seed):
    result = long_lags.run(Settings(reduced=True, first_seed=first_seed))
    json.dumps(result.numbers, allow_nan=False)
    learnt = result.numbers["updates until learnt"]["adding"]
    left = result.numbers["share of variance left"]["adding"]
    assert all(learnt["lstm-1997"]["30"])
    assert not any(learnt["rnn"]["30"])
    assert min(left["rnn"]["30"]) > 2 * max(left["lstm-1997"]["30"])
