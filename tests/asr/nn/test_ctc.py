"""The CTC loss against enumeration."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.nn.ctc import CTCLoss
from asr.tokens import min_frames
from asr.types import TrainingError


def collapse(path):
    return [k for k, _ in itertools.groupby(path) if k != 0]


@given(
    T=st.integers(1, 5),
    labels=st.lists(st.integers(1, 2), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_the_loss_equals_the_sum_over_all_paths(T, labels, seed):
    generator = torch.Generator().manual_seed(seed)
    log_probs = torch.randn(1, T, 3, generator=generator).log_softmax(-1)
    total = sum(
        math.exp(sum(log_probs[0, t, k].item() for t, k in enumerate(path)))
        for path in itertools.product(range(3), repeat=T)
        if collapse(path) == labels
    )
    arguments = (log_probs, torch.tensor([T]), torch.tensor([labels]), torch.tensor([len(labels)]))
    if min_frames(labels) > T:
        assert total == 0
        with pytest.raises(TrainingError):
            CTCLoss()(*arguments)
    else:
        expected = -math.log(total) / len(labels)
        assert CTCLoss()(*arguments).item() == pytest.approx(expected, rel=1e-4)


def test_the_loss_does_not_depend_on_padding():
    torch.manual_seed(0)
    log_probs = torch.randn(2, 6, 4).log_softmax(-1)
    lengths, targets = torch.tensor([6, 3]), torch.tensor([[1, 2, 3], [2, 0, 0]])
    sizes = torch.tensor([3, 1])
    loss = CTCLoss()(log_probs, lengths, targets, sizes)
    padded = torch.cat([log_probs, torch.full((2, 4, 4), -5.0)], dim=1)
    rubbish = torch.tensor([[1, 2, 3, 3], [2, 3, 3, 1]])
    torch.testing.assert_close(CTCLoss()(padded, lengths, rubbish, sizes), loss)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_broken_loss_names_its_utterance(value):
    log_probs = torch.randn(3, 5, 4).log_softmax(-1)
    log_probs[1] = value
    targets, sizes = torch.tensor([[1], [2], [3]]), torch.tensor([1, 1, 1])
    with pytest.raises(TrainingError, match="utt-b") as caught:
        CTCLoss()(log_probs, torch.tensor([5, 5, 5]), targets, sizes, ["utt-a", "utt-b", "utt-c"])
    assert "utt-a" not in str(caught.value)


def test_half_precision_log_probs_give_a_float32_loss():
    log_probs = torch.randn(1, 5, 4).log_softmax(-1).bfloat16()
    loss = CTCLoss()(log_probs, torch.tensor([5]), torch.tensor([[1, 2]]), torch.tensor([2]))
    assert loss.dtype == torch.float32
