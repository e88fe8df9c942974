"""Prefix beam search against enumeration of all paths and against torch's CTC."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding import BeamOptions, GreedyOptions, make_decoder, read_options
from asr.decoding.beam.decoder import prefix_beam_search
from asr.tokens import Tokenizer
from benchmarks.python_beam import prefix_beam_search as in_python

NO_LIMIT = 10**6
NO_PRUNING = -math.inf

small = given(
    seed=st.integers(0, 10**6),
    frames=st.integers(0, 6),
    vocab=st.integers(2, 4),
    sharpness=st.floats(0.1, 6.0),
)


@small
@settings(max_examples=60, deadline=None)
def test_a_wide_beam_finds_every_labelling_with_its_probability(
    log_probs_of, every_path, seed, frames, vocab, sharpness
):
    log_probs = log_probs_of(seed, frames, vocab, sharpness).numpy()
    expected, _ = every_path(log_probs)
    found = prefix_beam_search(log_probs, NO_LIMIT, NO_PRUNING)
    assert len(found) == len(expected)
    assert dict(found) == pytest.approx(expected, abs=1e-5)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert np.logaddexp.reduce(scores) == pytest.approx(0.0, abs=1e-5)


@given(seed=st.integers(0, 10**6), frames=st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_scores_are_those_of_torch_ctc(log_probs_of, seed, frames):
    log_probs = log_probs_of(seed, frames, 4)
    for labels, score in prefix_beam_search(log_probs.numpy(), NO_LIMIT, NO_PRUNING)[:20]:
        if labels:
            loss = torch.nn.functional.ctc_loss(
                log_probs[:, None].double(),
                torch.tensor([labels]),
                [frames],
                [len(labels)],
                reduction="sum",
            )
            assert score == pytest.approx(-float(loss), abs=1e-5)


@small
@settings(max_examples=40, deadline=None)
def test_a_narrow_beam_never_claims_more_than_a_wide_one(
    log_probs_of, seed, frames, vocab, sharpness
):
    log_probs = log_probs_of(seed, frames, vocab, sharpness).numpy()
    whole = dict(prefix_beam_search(log_probs, NO_LIMIT, NO_PRUNING))
    for width in (1, 3):
        found = prefix_beam_search(log_probs, width, -4.0)
        assert 1 <= len(found) <= width
        for labels, score in found:
            assert score <= whole[labels] + 1e-6


def test_summing_paths_beats_the_best_path():
    # Graves' thesis, figure 7.5: the best path is all blank, the best labelling is "a".
    log_probs = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]]).log()
    tokenizer = Tokenizer(["<blank>", "a"])
    lengths = torch.tensor([2])
    greedy = make_decoder(GreedyOptions(), tokenizer, 0.01).decode(log_probs, lengths)
    beam = make_decoder(BeamOptions(), tokenizer, 0.01).decode(log_probs, lengths)
    assert greedy[0][0].text == ""
    assert math.exp(greedy[0][0].score) == pytest.approx(0.36)
    assert beam[0][0].text == "a"
    assert math.exp(beam[0][0].score) == pytest.approx(0.64)


def test_alternatives_are_distinct_sorted_and_as_many_as_asked(log_probs_of):
    tokenizer = Tokenizer(["<blank>", "<space>", "a", "b"])
    log_probs = log_probs_of(5, 30, 4, 2.0)[None]
    config = BeamOptions(beam_width=20, nbest=9)
    (found,) = make_decoder(config, tokenizer, 0.01).decode(log_probs, torch.tensor([30]))
    assert len({h.text for h in found}) == len(found) == 9
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_a_token_that_pruning_drops_is_kept_where_it_is_the_best():
    log_probs = torch.tensor([[0.2, 0.3, 0.25, 0.25]] * 2).log().numpy()
    found = prefix_beam_search(log_probs, NO_LIMIT, math.log(0.9))
    assert {labels for labels, _ in found} == {(), (1,)}


def test_a_long_utterance_takes_time_in_proportion(log_probs_of):
    log_probs = log_probs_of(1, 4000, 6, 5.0)
    (best, *_) = prefix_beam_search(log_probs.numpy(), 4, -6.0)
    assert len(best[0]) > 1500
    loss = torch.nn.functional.ctc_loss(
        log_probs[:, None].double(),
        torch.tensor([best[0]]),
        [4000],
        [len(best[0])],
        reduction="sum",
    )
    assert best[1] <= -float(loss) + 1e-3


@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(0, 60),
    vocab=st.integers(2, 12),
    width=st.integers(1, 20),
    sharpness=st.floats(0.5, 8.0),
)
@settings(max_examples=100, deadline=None)
def test_compiled_and_plain_python_keep_the_same_prefixes(
    log_probs_of, seed, frames, vocab, width, sharpness
):
    log_probs = log_probs_of(seed, frames, vocab, sharpness).numpy()
    expected = in_python(log_probs, width, -6.0)
    found = prefix_beam_search(log_probs, width, -6.0)
    assert [labels for labels, _ in found] == [labels for labels, _ in expected]
    assert [score for _, score in found] == pytest.approx([s for _, s in expected], abs=1e-9)


def test_a_prefix_that_left_the_beam_and_came_back_is_the_same_prefix(log_probs_of):
    """Else one labelling would stand twice, its paths divided."""
    for seed in range(40):
        log_probs = log_probs_of(seed, 80, 5, 1.5).numpy()
        found = [labels for labels, _ in prefix_beam_search(log_probs, 6, -20.0)]
        assert len(set(found)) == len(found)


@pytest.mark.parametrize("width", [1, 4, 16])
def test_a_threshold_drops_only_what_is_further_behind(log_probs_of, width):
    log_probs = log_probs_of(3, 50, 6, 2.0)[None]
    tokenizer = Tokenizer(["<blank>", "<space>", *"abcd"])
    config = {"name": "beam", "beam_width": width, "nbest": width}

    def scores(threshold):
        decoder = make_decoder(
            read_options({**config, "beam_threshold": threshold}), tokenizer, 0.01
        )
        return [h.score for h in decoder.decode(log_probs, torch.tensor([50]))[0]]

    assert scores(1e6) == scores(None)
    for threshold in (0.0, 1.0, 5.0):
        kept = scores(threshold)
        assert kept[0] - kept[-1] <= threshold + 1e-9
