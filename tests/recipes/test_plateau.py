"""A model that emits nothing but blanks for long is spoken of."""

import torch

from recipes.common.plateau import AllBlankDetector


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
