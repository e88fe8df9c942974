"""Priors of tokens, divided out of what a decoder is given."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding import BeamOptions, PrefixOptions, Priors, make_decoder
from asr.decoding.priors import Division
from asr.tokens import Tokenizer
from asr.types import ConfigError, DecodingError

LETTERS = Tokenizer(["<blank>", "<space>", "a", "b", "c"])
PROBABILITIES = np.array([0.7, 0.1, 0.1, 0.08, 0.02])
PRIORS = Priors(tuple(np.log(PROBABILITIES).tolist()))
OPTIONS = {
    "beam": lambda weight: BeamOptions(beam_width=8, nbest=3, prior_weight=weight),
    "prefix": lambda weight: PrefixOptions(nbest=3, max_expansions=50, prior_weight=weight),
}
each = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
SECONDS = 0.02  # a frame


def decoder(options, priors=PRIORS):
    return make_decoder(options, LETTERS, SECONDS, priors=priors)


def divided(log_probs, weight, quiet=(0, 1)):
    """In float64: divided from where letters were ahead of blank and space by two nats."""
    frames, heard = log_probs.double().numpy().copy(), 0.0
    for row in frames:
        heard = heard * 0.5 ** (SECONDS / 2.0) + min(10.0, row.max() - row[list(quiet)].max())
        if heard >= 2.0:
            row -= weight * np.log(PROBABILITIES)
            row -= np.logaddexp.reduce(row)
    return torch.from_numpy(frames).float()


def test_what_is_left_with_weight_one_is_how_well_the_sound_fits():
    """By Bayes' rule: a classifier of normal distributions is divided by its classes' shares."""
    rng = np.random.default_rng(0)
    means, sounds = rng.normal(0, 2, 5), rng.normal(0, 2, (200, 1))
    fits = -0.5 * (sounds - means) ** 2  # log p(x | k), but for what is the same for all
    joint = fits + np.log(PROBABILITIES)
    posteriors = joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)
    divide = Division(PRIORS, 1.0, (), SECONDS)
    found, _ = divide(torch.from_numpy(posteriors), heard=100.0)
    expected = fits - np.logaddexp.reduce(fits, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_noise_is_heard_as_without_priors_until_somebody_speaks():
    """And again when they are silent for long."""
    noise = torch.tensor([0.9, 0.02, 0.05, 0.02, 0.01]).log().repeat(500, 1)
    speech = torch.tensor([0.1, 0.1, 0.7, 0.05, 0.05]).log().repeat(10, 1)
    divide = Division(PRIORS, 0.7, (1,), SECONDS)
    found, _ = divide(torch.cat([noise, speech, noise]))
    assert torch.equal(found[:500], noise)
    assert not torch.isclose(found[505:600], torch.cat([noise, speech, noise])[505:600]).any()
    assert torch.equal(found[-100:], noise[-100:])  # ten seconds later
    space = torch.tensor([0.1, 0.7, 0.1, 0.05, 0.05]).log().repeat(100, 1)
    assert torch.equal(divide(space)[0], space)  # says no more than a blank


def test_what_a_stream_refuses_it_has_not_heard():
    speech = torch.tensor([0.1, 0.1, 0.7, 0.05, 0.05]).log().repeat(10, 1)
    weak = torch.tensor([0.7, 0.02, 0.2, 0.05, 0.03]).log().repeat(10, 1)
    broken = speech.clone()
    broken[-1] = math.nan
    searching = decoder(BeamOptions(prior_weight=0.7))
    stream = searching.begin()
    with pytest.raises(DecodingError, match="at frame 9"):
        stream.push(broken)
    stream.push(weak)
    assert stream.finish() == searching.decode(weak[None], torch.tensor([10]))[0]


@each
@given(seed=st.integers(0, 10**6), weight=st.sampled_from([0.3, 1.0]))
@settings(max_examples=25, deadline=None)
def test_the_decoder_searches_what_is_left(log_probs_of, options, seed, weight):
    log_probs = log_probs_of(seed, 20, 5)
    left = divided(log_probs, weight)
    lengths = torch.tensor([20])
    [expected] = decoder(options(0.0)).decode(left[None], lengths)
    [found] = decoder(options(weight)).decode(log_probs[None], lengths)
    assert [h.text for h in found] == [h.text for h in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.score == pytest.approx(theirs.score, abs=1e-3)
        assert mine.confidence == pytest.approx(theirs.confidence, abs=1e-4)


@each
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 30), max_size=4))
@settings(max_examples=25, deadline=None)
def test_batches_and_pieces_change_nothing(log_probs_of, options, seed, cuts):
    searching = decoder(options(0.7))
    log_probs = log_probs_of(seed, 30, 5)
    [alone] = searching.decode(log_probs[None], torch.tensor([30]))
    batch = torch.full((3, 33, 5), math.nan)  # padding is never read
    batch[1, :30] = log_probs
    assert searching.decode(batch, torch.tensor([0, 30, 0]))[1] == alone
    stream = searching.begin()
    edges = [0, *sorted(cuts), 30]
    for start, end in itertools.pairwise(edges):
        stream.push(log_probs[start:end])
    assert stream.finish() == alone


@each
def test_a_weight_without_priors_and_priors_of_another_model_are_refused(options):
    with pytest.raises(DecodingError, match=r"knows no priors.*asr tune"):
        decoder(options(0.5), priors=None)
    with pytest.raises(DecodingError, match="2 priors, and 5 tokens"):
        decoder(options(0.5), priors=Priors((math.log(0.5), math.log(0.5))))
    for weight in (-0.1, 2.5, math.nan, True, "1"):
        with pytest.raises(DecodingError, match="prior_weight"):
            options(weight)


def test_what_a_decoder_refuses_it_refuses_with_priors_too(log_probs_of):
    searching = decoder(BeamOptions(prior_weight=0.5))
    with pytest.raises(DecodingError, match="shape"):
        searching.decode(torch.zeros(1, 2, 6), torch.tensor([2]))
    broken = log_probs_of(0, 4, 5)
    broken[2, 1] = math.nan
    with pytest.raises(DecodingError, match="at frame 2"):
        searching.decode(broken[None], torch.tensor([4]))
    with pytest.raises(DecodingError, match="at frame 2"):
        searching.begin().push(broken)


def test_they_are_the_mean_over_the_frames_of_speech(log_probs_of):
    batches, kept = [], []
    for seed, lengths in enumerate([[3, 7], [5]]):
        batch = torch.full((len(lengths), 8, 5), math.nan)
        for row, count in enumerate(lengths):
            batch[row, :count] = log_probs_of(10 * seed + row, count, 5)
            kept.append(batch[row, :count].double().exp().numpy())
        batches.append((batch, torch.tensor(lengths)))
    found = np.exp(Priors.of_speech(batches).log_priors)
    frames = np.concatenate(kept)
    expected = (frames.sum(axis=0) + 1) / (len(frames) + 5)  # each token counts a frame more
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_token_that_was_never_probable_is_rare_and_not_impossible():
    log_probs = torch.tensor([0.0, -math.inf, -math.inf]).repeat(98, 1)[None]
    priors = Priors.of_speech([(log_probs, torch.tensor([98]))])
    assert np.exp(priors.log_priors)[1] == pytest.approx(1 / 101)
    with pytest.raises(ConfigError, match="no speech"):
        Priors.of_speech([])


@pytest.mark.parametrize(
    "values",
    [(), (0.1, -3.0), (math.log(0.5),) * 3, (math.nan, 0.0), (-math.inf, 0.0), (True, 0.0), ("a",)],
)
def test_what_cannot_be_priors_is_refused(values):
    with pytest.raises(ConfigError, match="priors"):
        Priors(values)
