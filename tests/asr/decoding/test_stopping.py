"""A search in a thread ends soon after it is asked to."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from asr.decoding import BeamOptions, GreedyOptions, PrefixOptions, Stop, StoppedError, make_decoder
from asr.decoding.spans import best_alignment
from asr.tokens import Tokenizer

pytestmark = pytest.mark.timed

TOKENIZER = Tokenizer(["<blank>", "<space>", *"abcdefghijklmnopqrstuvwxyz"])


@pytest.mark.parametrize("options", [GreedyOptions(), BeamOptions(), PrefixOptions()])
def test_a_request_that_came_before_ends_it_at_once(options):
    decoder = make_decoder(options, TOKENIZER, 0.02)
    stop = Stop()
    log_probs = torch.randn(2, 50, TOKENIZER.size).log_softmax(2)
    lengths = torch.tensor([50, 20])
    assert len(decoder.decode(log_probs, lengths, stop)) == 2
    stop.set()
    with pytest.raises(StoppedError):
        decoder.decode(log_probs, lengths, stop)


@pytest.mark.parametrize(
    "config",
    [
        BeamOptions(beam_width=1024, token_min_log_prob=-1e9),
        PrefixOptions(max_expansions=100_000),
    ],
)
def test_a_search_of_minutes_ends_within_a_tenth_of_a_second(config):
    torch.manual_seed(0)
    log_probs = torch.randn(1, 30_000, TOKENIZER.size).log_softmax(2)
    # Compiled before: that cannot be stopped. What is settled is let go of after some frames.
    make_decoder(config, TOKENIZER, 0.02).decode(log_probs[:, :2], torch.tensor([2]))
    make_decoder(BeamOptions(), TOKENIZER, 0.02).decode(log_probs[:, :600], torch.tensor([600]))
    stop, ended = Stop(), []

    def search() -> None:
        with pytest.raises(StoppedError):
            make_decoder(config, TOKENIZER, 0.02).decode(log_probs, torch.tensor([30_000]), stop)
        ended.append(time.monotonic())

    thread = threading.Thread(target=search)
    thread.start()
    thread.join(0.5)
    assert thread.is_alive(), "the search is too short to be stopped"
    asked = time.monotonic()
    stop.set()
    thread.join(30)
    assert ended[0] - asked < 0.1


def test_the_alignment_of_a_long_text_ends_as_soon():
    labels = list(np.random.default_rng(0).integers(1, 27, 14_000))
    log_probs = np.full((60_000, 28), -3.0, dtype=np.float32)
    best_alignment(log_probs[:100], labels[:10])  # compiled before
    stop, ended = Stop(), []

    def search() -> None:
        with pytest.raises(StoppedError):
            best_alignment(log_probs, labels, stop)
        ended.append(time.monotonic())

    thread = threading.Thread(target=search)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive(), "the alignment is too short to be stopped"
    asked = time.monotonic()
    stop.set()
    thread.join(30)
    assert ended[0] - asked < 0.1
