"""CTC: the loss against enumeration, the pre-flight against the loss, the plateau's alarm."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.nn.ctc import AllBlankDetector, CTCLoss, preflight
from asr.tokens import min_frames
from asr.types import AlignmentError, TrainingError


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


def test_preflight_sorts_counts_and_names():
    report = preflight(
        [
            ("fits", 5, [1, 1, 2, 2], []),  # 4 labels + 2 repeats need 6
            ("just-fits", 6, [1, 1, 2, 2], []),
            ("silent", 9, [], []),
            ("strange", 9, None, ["é"]),
        ]
    )
    assert report.usable == ("just-fits",)
    assert report.too_short == ("fits",)
    assert report.empty == ("silent",)
    assert report.unknown == ("strange",)
    assert report.rejected == ("fits", "silent", "strange")
    text = report.report()
    assert "1 of 4" in text
    assert "fits: 5 frames for 4 labels and 2 repeats, 6 needed" in text
    assert "'é'" in text


def test_a_manifest_with_nothing_usable_stops():
    with pytest.raises(AlignmentError, match="no utterance"):
        preflight([("silent", 9, [], [])]).require_any()


def test_a_lasting_plateau_of_blanks_is_explained_and_a_passing_one_is_not():
    detector = AllBlankDetector(patience=2)
    blank = torch.tensor([[[0.0, -5.0]] * 4])
    spike = torch.tensor([[[-5.0, 0.0]] * 4])
    detector.update(blank, torch.tensor([4]))
    assert detector.finish_pass() is None
    detector.update(spike, torch.tensor([4]))
    assert detector.finish_pass() is None
    for _ in range(2):
        detector.update(blank, torch.tensor([4]))
        message = detector.finish_pass()
    assert message is not None
    assert "blanks" in message


def test_spikes_in_the_padding_do_not_count():
    detector = AllBlankDetector(patience=1)
    log_probs = torch.tensor([[[0.0, -5.0], [-5.0, 0.0]]])
    detector.update(log_probs, torch.tensor([1]))
    assert detector.finish_pass() is not None
