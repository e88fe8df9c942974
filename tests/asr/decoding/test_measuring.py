"""What is told of partials: how many of their words change, and what their stability is worth."""

from __future__ import annotations

import pytest
import torch

from asr.decoding import GreedyOptions, Partial, make_decoder
from asr.decoding.measuring import measure_partials
from asr.tokens import Tokenizer
from asr.types import DecodingError, Hypothesis

LETTERS = Tokenizer(["<blank>", "<space>", "a", "b"])


class Scripted:
    """A decoder and its stream that say what they are told to."""

    def __init__(self, partials, final):
        self.partials, self.final = partials, final

    def begin(self):
        return self

    def push(self, log_probs):
        stable, text, stability = self.partials.pop(0)
        return Partial(text, stable, stability, 0.0)

    def finish(self):
        return [Hypothesis(self.final, score=0.0, confidence=1.0)]


def test_words_that_change_and_stabilities_that_come_true_are_counted():
    partials = [("", "a", 0.25), ("", "a cat", 0.5), ("a", "a bat", 0.75), ("a bat", "a bat", 1.0)]
    decoder = Scripted(partials, "a bat sat")
    report = measure_partials(decoder, [(torch.zeros(4, 4), [1, 1, 2, 0])])
    assert (report.shown, report.changed) == (3, 1)  # a, cat and bat, of which cat went
    assert report.flicker == pytest.approx(1 / 3)
    assert report.stable == pytest.approx(3 / 7)
    assert report.stated == (0.25, 0.5, 0.75)
    assert report.survived == (True, False, True)
    assert report.calibration_error == pytest.approx((0.75 + 0.5 + 0.25) / 3)


def test_the_only_word_of_greedy_partials_that_changes_is_one_that_goes_on():
    path = [2, 0, 3, 1, 3, 0, 3, 2]  # "ab bba"
    log_probs = torch.full((len(path), 4), -5.0)
    log_probs[range(len(path)), path] = 0.0
    decoder = make_decoder(GreedyOptions(), LETTERS, 0.02)
    report = measure_partials(decoder, [(log_probs.log_softmax(-1), [1] * len(path))])
    assert (report.shown, report.changed) == (5, 3)  # a, ab, b, bb, bba


def test_nothing_said_is_nothing_changed():
    report = measure_partials(make_decoder(GreedyOptions(), LETTERS, 0.02), [])
    assert (report.flicker, report.stable, report.calibration_error) == (0.0, 0.0, 0.0)


def test_sizes_that_are_not_those_of_the_pieces_are_refused():
    with pytest.raises(DecodingError, match="pieces of 3 frames for 4 frames"):
        measure_partials(Scripted([], ""), [(torch.zeros(4, 4), [1, 2])])
