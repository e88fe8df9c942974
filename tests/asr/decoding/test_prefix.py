"""Prefix search against enumeration of all paths and against torch's CTC."""

from __future__ import annotations

import math
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asr.decoding import BeamOptions, PrefixOptions, Stop, StoppedError, make_decoder
from asr.decoding.beam.decoder import prefix_beam_search
from asr.decoding.prefix import labelling_log_prob, prefix_search
from asr.tokens import Tokenizer

ENOUGH = 100_000
WHOLE = 1.0

small = given(
    seed=st.integers(0, 10**6),
    frames=st.integers(0, 6),
    vocab=st.integers(2, 4),
    sharpness=st.floats(0.1, 6.0),
)


def ranked(expected: dict) -> list[float]:
    return sorted(expected.values(), reverse=True)


@small
@settings(max_examples=80, deadline=None)
def test_the_first_is_the_most_probable_labelling(
    log_probs_of, every_path, seed, frames, vocab, sharpness
):
    log_probs = log_probs_of(seed, frames, vocab, sharpness).numpy()
    expected, _ = every_path(log_probs)
    (found,) = prefix_search(log_probs, 1, WHOLE, ENOUGH)
    assert found.search == "exact"
    assert found.log_prob == pytest.approx(ranked(expected)[0], abs=1e-5)
    assert found.log_prob == pytest.approx(expected[found.labels], abs=1e-5)


@small
@settings(max_examples=60, deadline=None)
def test_the_n_best_are_the_n_best_of_all(log_probs_of, every_path, seed, frames, vocab, sharpness):
    log_probs = log_probs_of(seed, frames, vocab, sharpness).numpy()
    expected, _ = every_path(log_probs)
    for count in (3, 7, len(expected) + 1):
        found = prefix_search(log_probs, count, WHOLE, ENOUGH)
        assert {f.search for f in found} == {"exact"}
        assert len({f.labels for f in found}) == len(found) == min(count, len(expected))
        assert [f.log_prob for f in found] == pytest.approx(ranked(expected)[:count], abs=1e-5)
        for f in found:
            assert f.log_prob == pytest.approx(expected[f.labels], abs=1e-5)


@small
@settings(max_examples=60, deadline=None)
def test_texts_that_differ_only_in_spaces_are_one(
    log_probs_of, every_text, seed, frames, vocab, sharpness
):
    log_probs = log_probs_of(seed, frames, vocab, sharpness).numpy()
    expected = every_text(log_probs, 1)
    for labels, log_prob in expected.items():
        assert labelling_log_prob(log_probs, labels, None, 1) == pytest.approx(log_prob, abs=1e-5)
    for count in (1, 4, len(expected) + 1):
        found = prefix_search(log_probs, count, WHOLE, ENOUGH, None, 1)
        assert {f.search for f in found} == {"exact"}
        assert len({f.labels for f in found}) == len(found) == min(count, len(expected))
        assert [f.log_prob for f in found] == pytest.approx(ranked(expected)[:count], abs=1e-5)
        for f in found:
            assert f.log_prob == pytest.approx(expected[f.labels], abs=1e-5)


@given(
    seed=st.integers(0, 10**6),
    sure=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    budget=st.sampled_from([1, 20, ENOUGH]),
)
@settings(max_examples=60, deadline=None)
def test_sections_and_budgets_give_each_text_once(log_probs_of, every_text, seed, sure, budget):
    log_probs = sure_of_blanks(log_probs_of(seed, 7, 3).numpy(), sure, 0.99995)
    expected = every_text(log_probs, 1)
    for threshold in (0.9999, WHOLE):
        found = prefix_search(log_probs, 6, threshold, budget, None, 1)
        assert len({f.labels for f in found}) == len(found)
        for f in found:
            assert f.log_prob == pytest.approx(expected[f.labels], abs=1e-5)


@given(
    seed=st.integers(0, 10**6),
    sure=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    count=st.integers(2, 12),
)
@example(seed=11, sure=[6], count=5)  # many labellings are one text
@example(seed=709570, sure=[0, 6], count=12)
@settings(max_examples=60, deadline=None)
def test_sections_give_as_many_texts_as_there_are(log_probs_of, every_text, seed, sure, count):
    log_probs = log_probs_of(seed, 7, 3).numpy()
    # What is as sure of itself divides sections too: in those frames nothing else is looked for.
    sure = sorted({*sure, *np.flatnonzero(log_probs[:, 0] > math.log(0.9999)).tolist()})
    log_probs = sure_of_blanks(log_probs, sure, 1.0)
    possible = sum(score > -math.inf for score in every_text(log_probs, 1).values())
    found = prefix_search(log_probs, count, 0.9999, ENOUGH, None, 1)
    assert len({f.labels for f in found}) == len(found) == min(count, possible)


@given(seed=st.integers(0, 10**6), frames=st.integers(1, 30), size=st.integers(1, 10))
@settings(max_examples=40, deadline=None)
def test_the_probability_of_a_labelling_is_that_of_torch_ctc(log_probs_of, seed, frames, size):
    log_probs = log_probs_of(seed, frames, 4)
    labels = torch.randint(1, 4, (size,), generator=torch.Generator().manual_seed(seed)).tolist()
    loss = torch.nn.functional.ctc_loss(
        log_probs[:, None].double(), torch.tensor([labels]), [frames], [size], reduction="sum"
    )
    assert labelling_log_prob(log_probs.numpy(), labels) == pytest.approx(-float(loss), abs=1e-6)


def sure_of_blanks(log_probs: np.ndarray, frames: list[int], blank: float) -> np.ndarray:
    """``log_probs`` with that probability of a blank in ``frames``."""
    probs = np.exp(log_probs.astype(np.float64))
    probs[:, 0] = np.where(np.isin(range(len(probs)), frames), 0.0, probs[:, 0])
    probs *= np.where(np.isin(range(len(probs)), frames), 1 - blank, 1.0)[:, None] / probs.sum(
        axis=1, keepdims=True
    )
    probs[frames, 0] = blank
    with np.errstate(divide="ignore"):
        return np.log(probs).astype(np.float32)


@given(
    seed=st.integers(0, 10**6),
    sure=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    blank=st.sampled_from([1.0, 0.99995]),
)
@settings(max_examples=60, deadline=None)
def test_a_sectioned_search_joins_the_best_of_each_section(
    log_probs_of, every_path, seed, sure, blank
):
    log_probs = sure_of_blanks(log_probs_of(seed, 7, 3).numpy(), sure, blank)
    edges = [-1, *sorted(set(sure)), 7]
    joined: tuple[int, ...] = ()
    certain = 1.0
    for left, right in pairwise(edges):
        of_section, _ = every_path(log_probs[left + 1 : right])
        best = max(of_section, key=lambda labels: of_section[labels])
        joined += best
        certain *= math.exp(of_section[best])
    (found,) = prefix_search(log_probs, 1, 0.9999, ENOUGH)
    whole, _ = every_path(log_probs)
    assert (found.labels, found.search) == (joined, "sectioned")
    assert found.log_prob == pytest.approx(whole[joined], abs=1e-5)
    (exact,) = prefix_search(log_probs, 1, WHOLE, ENOUGH)
    assert exact.search == "exact"
    assert exact.log_prob >= found.log_prob - 1e-6
    if certain * blank ** len(set(sure)) > 0.5:  # then nothing else can be as probable
        assert exact.labels == found.labels


@given(seed=st.integers(0, 10**6), frames=st.integers(1, 6), sure=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_sections_change_nothing_where_all_labels_are_on_one_side_of_a_certain_blank(
    log_probs_of, seed, frames, sure
):
    silence = np.full((sure + 1, 4), -math.inf, dtype=np.float32)
    silence[:, 0] = 0.0
    log_probs = np.concatenate([silence, log_probs_of(seed, frames, 4).numpy(), silence])
    for count in (1, 5):
        whole = prefix_search(log_probs, count, WHOLE, ENOUGH)
        parts = prefix_search(log_probs, count, 0.9999, ENOUGH)
        assert [f.labels for f in parts] == [f.labels for f in whole]
        assert [f.log_prob for f in parts] == pytest.approx([f.log_prob for f in whole], abs=1e-6)


def test_labels_on_both_sides_of_a_blank_may_be_one_labelling_in_two_ways():
    # Each section alone says nothing (0.6); as a whole, "a" has two chances of 0.24 against 0.36.
    log_probs = np.log(np.float32([[0.6, 0.4], [1.0, 1e-30], [0.6, 0.4]]))
    (whole,) = prefix_search(log_probs, 1, WHOLE, ENOUGH)
    (parts,) = prefix_search(log_probs, 1, 0.9999, ENOUGH)
    assert (whole.labels, math.exp(whole.log_prob)) == ((1,), pytest.approx(0.48))
    assert (parts.labels, math.exp(parts.log_prob)) == ((), pytest.approx(0.36))


@given(seed=st.integers(0, 10**6), budget=st.integers(1, 40), count=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_a_search_that_its_budget_ends_says_so_and_is_no_worse_than_others(
    log_probs_of, collapsed, seed, budget, count
):
    log_probs = log_probs_of(seed, 12, 4, 1.0).numpy()
    found = prefix_search(log_probs, count, WHOLE, budget)
    best = prefix_search(log_probs, count, WHOLE, ENOUGH)
    assert {f.search for f in best} == {"exact"}
    for rank, f in enumerate(found):
        if f.search == "exact":
            assert f == best[rank]
    best_path = collapsed(log_probs.argmax(axis=1).tolist())
    beam = prefix_beam_search(log_probs, 16, -8.0)[0][0]
    for labels in (best_path, beam):
        assert found[0].log_prob >= labelling_log_prob(log_probs, labels) - 1e-9
    assert found[0].log_prob <= best[0].log_prob


def test_a_small_budget_is_told():
    flat = np.full((30, 6), -math.log(6), dtype=np.float32)
    assert prefix_search(flat, 1, WHOLE, 50)[0].search == "cut"


def test_the_budget_bounds_memory_whatever_the_section_is_like(log_probs_of):
    log_probs = log_probs_of(0, 1600, 6, 1.0).numpy()  # of no frame the blank is sure
    prefix_search(log_probs[:50], 4, 0.9999, 20)  # what is compiled or imported stays
    tracemalloc.start()
    try:
        found = prefix_search(log_probs, 4, 0.9999, 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [one.search for one in found] == ["cut"] * 4
    assert peak < 4e6


def test_a_stop_is_seen_while_the_results_are_weighed(log_probs_of):
    class Counting(Stop):
        checks = 0

        def check(self) -> None:
            self.checks += 1
            super().check()

    stop = Counting()
    log_probs = log_probs_of(0, 200, 6, 1.0).numpy()
    found = prefix_search(log_probs, 4, WHOLE, 1, stop)
    assert stop.checks >= 200 * len(found)
    stop.set()
    with pytest.raises(StoppedError):
        labelling_log_prob(log_probs, found[0].labels, stop)


def test_probabilities_below_the_smallest_float_are_no_obstacle(log_probs_of, collapsed):
    log_probs = log_probs_of(0, 300, 60, 0.2).numpy()
    (found,) = prefix_search(log_probs, 1, WHOLE, 1)
    best_path = collapsed(log_probs.argmax(axis=1).tolist())
    assert found.search == "cut"
    assert labelling_log_prob(log_probs, best_path) <= found.log_prob < math.log(5e-324)


def test_the_decoder_is_exact_where_beam_search_with_every_prefix_is(log_probs_of):
    tokenizer = Tokenizer(["<blank>", "<space>", "a", "b"])
    log_probs, lengths = log_probs_of(5, 9, 4, 2.0)[None], torch.tensor([9])
    config = PrefixOptions(nbest=6, blank_threshold=1.0)
    wide = BeamOptions(beam_width=1024, nbest=6, token_min_log_prob=-math.inf)
    (found,), (beam,) = (
        make_decoder(c, tokenizer, 0.01).decode(log_probs, lengths) for c in (config, wide)
    )
    assert [h.text for h in found] == [h.text for h in beam]
    assert [h.score for h in found] == pytest.approx([h.score for h in beam], abs=1e-4)
    assert [h.tokens for h in found] == [h.tokens for h in beam]
    assert [h.search for h in found] == ["exact"] * 6
    assert [h.search for h in beam] == [None] * 6
