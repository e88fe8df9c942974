"""Long lags in a reduced form, and the tasks themselves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.lineage import long_lags
from recipes.lineage.experiment import Settings


@given(lag=st.integers(2, 60))
@settings(max_examples=20, deadline=None)
def test_only_the_first_symbol_tells_the_two_sequences_apart(lag):
    x, y = long_lags.two_symbols(torch.Generator(), lag, 2)
    assert x.shape == (lag, 2, lag + 1)
    assert not torch.equal(x[0, 0], x[0, 1])
    assert torch.equal(x[1:, 0], x[1:, 1])
    assert y.tolist() == [[1, 0], [0, 1]]


@given(lag=st.integers(6, 120), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_sum_is_of_the_two_marked_numbers_both_in_the_first_half(lag, seed):
    x, y = long_lags.adding(torch.Generator().manual_seed(seed), lag, 7)
    values, marks = x.unbind(2)
    assert (marks.sum(0) == 2).all()
    assert not marks[lag // 2 :].any()
    torch.testing.assert_close((values * marks).sum(0) / 4 + 0.5, y[:, 0])


@pytest.fixture(scope="module")
def result():
    return long_lags.run(Settings(reduced=True))


def test_the_rnn_learns_the_short_lag_and_the_lstm_the_long_one_alone(result):
    learnt = result.numbers["updates until learnt"]["two symbols"]
    assert all(learnt["rnn"]["10"])
    assert not any(learnt["rnn"]["100"])
    assert all(learnt["lstm-1997"]["100"])
    assert result.holds
