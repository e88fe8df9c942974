"""The CTC loss against enumeration."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.nn.ctc import CTCLoss, consistency_loss
from asr.tokens import min_frames
from asr.types import ConfigError, TrainingError


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


@pytest.mark.parametrize("label", [0, 4, 1000, -1])
def test_labels_that_the_model_has_no_output_for_are_named(label):
    """torch looks them up unchecked, in memory that may be anything's."""
    log_probs = torch.randn(2, 6, 4).log_softmax(-1)
    targets, sizes = torch.tensor([[1, 2, 99], [3, label, 99]]), torch.tensor([2, 2])
    with pytest.raises(TrainingError, match=f"utt-b: label 1 has the id {label}, .* 1 to 3"):
        CTCLoss()(log_probs, torch.tensor([6, 6]), targets, sizes, ["utt-a", "utt-b"])


@pytest.mark.parametrize(("frames", "labels"), [(7, 1), (-1, 1), (6, 3), (6, -1)])
def test_lengths_beyond_their_tensors_are_named(frames, labels):
    log_probs = torch.randn(2, 6, 4).log_softmax(-1)
    targets = torch.tensor([[1, 2], [3, 1]])
    lengths, sizes = torch.tensor([6, frames]), torch.tensor([2, labels])
    with pytest.raises(TrainingError, match=f"utt-b: {frames} frames and {labels} labels .* 6 and"):
        CTCLoss()(log_probs, lengths, targets, sizes, ["utt-a", "utt-b"])


@pytest.mark.parametrize("shape", [(0, 5, 4), (2, 0, 4)])
def test_of_no_frames_there_is_no_loss(shape):
    nothing = torch.zeros(shape[0], dtype=torch.long)
    with pytest.raises(TrainingError, match="no CTC loss"):
        CTCLoss()(torch.zeros(shape), nothing, torch.zeros(shape[0], 1, dtype=torch.long), nothing)


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


def test_disagreement_is_the_symmetric_divergence_of_float64():
    torch.manual_seed(1)
    log_probs = torch.randn(4, 6, 5).log_softmax(-1)  # two utterances, two views
    lengths, sizes = torch.tensor([6, 3, 6, 3]), torch.tensor([3, 1, 3, 1])
    total = 0.0
    for b in range(2):
        p, q = log_probs[b, : lengths[b]].double(), log_probs[b + 2, : lengths[b]].double()
        both = ((p.exp() - q.exp()) * (p - q)).sum()  # KL(p, q) + KL(q, p)
        total += 0.5 * both.item() / sizes[b].item() / 2
    assert consistency_loss(log_probs, lengths, sizes).item() == pytest.approx(total, rel=1e-5)


def test_equal_views_do_not_disagree_and_padding_does_not_count():
    torch.manual_seed(2)
    view = torch.randn(2, 6, 5).log_softmax(-1)
    lengths, sizes = torch.tensor([6, 3, 6, 3]), torch.tensor([2, 2, 2, 2])
    equal = torch.cat([view, view])
    assert consistency_loss(equal, lengths, sizes).item() == pytest.approx(0.0, abs=1e-6)
    equal[3, 3:] = -7.0
    equal[1, 3:] = torch.nan
    equal.requires_grad_()
    loss = consistency_loss(equal, lengths, sizes)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    loss.backward()
    assert equal.grad.isfinite().all()


def test_either_view_is_drawn_towards_the_other_as_to_a_fixed_target():
    torch.manual_seed(3)
    logits = torch.randn(2, 1, 5, requires_grad=True)
    lengths, sizes = torch.tensor([1, 1]), torch.tensor([1, 1])
    consistency_loss(logits.log_softmax(-1), lengths, sizes).backward()
    first, second = logits.detach().double().softmax(-1)[:, 0]
    expected = 0.5 * torch.stack([first - second, second - first])  # of a cross entropy
    torch.testing.assert_close(logits.grad[:, 0].double(), expected, rtol=1e-4, atol=1e-6)


def test_a_batchs_losses_become_one_in_three_ways():
    torch.manual_seed(0)
    log_probs = torch.randn(2, 6, 4).log_softmax(-1)
    arguments = torch.tensor([6, 3]), torch.tensor([[1, 2, 3], [2, 0, 0]]), torch.tensor([3, 1])
    total = [
        torch.nn.functional.ctc_loss(
            log_probs.transpose(0, 1)[:, b : b + 1], arguments[1][b : b + 1, :size],
            arguments[0][b : b + 1], arguments[2][b : b + 1], reduction="sum",
        ).item()
        for b, size in enumerate([3, 1])
    ]  # fmt: skip
    expected = {
        "per_label": (total[0] / 3 + total[1]) / 2,
        "per_utterance": sum(total) / 2,
        "sum": sum(total),
    }
    for name, value in expected.items():
        assert CTCLoss(name)(log_probs, *arguments).item() == pytest.approx(value)
    with pytest.raises(ConfigError, match="per_frame"):
        CTCLoss("per_frame")


def test_without_labels_the_loss_is_that_of_blanks_per_frame():
    """Audio without words: in a batch with other utterances, and alone."""
    torch.manual_seed(0)
    log_probs = torch.randn(2, 6, 4).log_softmax(-1)
    lengths, targets, sizes = torch.tensor([6, 4]), torch.tensor([[1, 2], [3, 3]]), (2, 0)
    blanks = -log_probs[1, :4, 0].sum().item() / 4
    alone = CTCLoss()(log_probs[1:], lengths[1:], torch.empty(1, 0).long(), torch.tensor([0]))
    assert alone.item() == pytest.approx(blanks)
    both = CTCLoss()(log_probs, lengths, targets, torch.tensor(sizes))
    first = CTCLoss()(log_probs[:1], lengths[:1], targets[:1], torch.tensor([2]))
    assert both.item() == pytest.approx((first.item() + blanks) / 2)
