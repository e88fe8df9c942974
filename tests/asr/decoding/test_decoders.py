"""What holds for every decoder: batches, empty utterances, broken values, and times."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding import BeamOptions, GreedyOptions, PrefixOptions, make_decoder
from asr.decoding.spans import hypothesis
from asr.tokens import Tokenizer
from asr.types import DecodingError

LETTERS = Tokenizer(["<blank>", "<space>", "a", "b", "c"])
CONFIGS = [
    GreedyOptions(),
    BeamOptions(beam_width=8, nbest=3),
    PrefixOptions(nbest=3, max_expansions=50),
]
each = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)


def decoder(config):
    return make_decoder(config, LETTERS, 0.02)


@each
@given(
    seed=st.integers(0, 10**6),
    lengths=st.lists(st.integers(0, 25), min_size=1, max_size=5),
    more=st.integers(0, 3),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_an_utterance_is_the_same_alone_and_in_any_batch(
    log_probs_of, config, seed, lengths, more, data
):
    decode = decoder(config).decode
    alone = [log_probs_of(seed + i, n, 5) for i, n in enumerate(lengths)]
    expected = [decode(x[None], torch.tensor([len(x)]))[0] for x in alone]
    order = data.draw(st.permutations(range(len(lengths))))
    batch = torch.full((len(lengths), max(lengths) + more, 5), math.nan)  # padding is never read
    for row, i in enumerate(order):
        batch[row, : lengths[i]] = alone[i]
    found = decode(batch, torch.tensor([lengths[i] for i in order]))
    assert found == [expected[i] for i in order]


@each
@given(seed=st.integers(0, 10**6), frames=st.integers(0, 30))
@settings(max_examples=25, deadline=None)
def test_times_lie_in_the_utterance_in_order(log_probs_of, config, seed, frames):
    (found,) = decoder(config).decode(log_probs_of(seed, frames, 5)[None], torch.tensor([frames]))
    assert 1 <= len(found) <= config.nbest
    for h in found:
        assert 0.0 <= h.confidence <= 1.0
        assert LETTERS.decode([LETTERS.tokens.index(t.token) for t in h.tokens]) == h.text
        assert [w.text for w in h.words] == h.text.split()
        for parts in (h.tokens, h.words):
            edges = [edge for part in parts for edge in (part.start, part.end)]
            assert edges == sorted(edges)
            assert all(0.0 <= edge <= frames * 0.02 + 1e-9 for edge in edges)
            assert all(part.start < part.end for part in parts)
            assert all(0.0 <= part.confidence <= 1.0 for part in parts)


@given(seed=st.integers(0, 10**6), frames=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_decoders_that_agree_on_the_text_agree_on_times_and_confidence(log_probs_of, seed, frames):
    log_probs, lengths = log_probs_of(seed, frames, 5, 8.0)[None], torch.tensor([frames])
    ((greedy,), *others) = (decoder(c).decode(log_probs, lengths)[0] for c in CONFIGS)
    for best, *_ in others:
        if greedy.text == best.text:
            assert greedy.tokens == best.tokens
            assert greedy.words == best.words
            assert greedy.confidence == best.confidence
            assert greedy.score <= best.score + 1e-5


@given(seed=st.integers(0, 10**6), frames=st.integers(1, 6), vocab=st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_greedy_is_the_best_of_all_paths(log_probs_of, every_path, seed, frames, vocab):
    log_probs = log_probs_of(seed, frames, vocab)
    tokenizer = Tokenizer(["<blank>", *"abc"[: vocab - 1]])
    ((found,),) = make_decoder(CONFIGS[0], tokenizer, 0.02).decode(
        log_probs[None], torch.tensor([frames])
    )
    _, best = every_path(log_probs.numpy())
    labels = max(best, key=lambda key: best[key][0])
    assert found.text == tokenizer.decode(labels)
    assert found.score == pytest.approx(best[labels][0], abs=1e-5)


@each
@given(seed=st.integers(0, 10**6), frames=st.integers(0, 20), spaces=st.floats(0.0, 3.0))
@settings(max_examples=40, deadline=None)
def test_a_text_has_single_spaces_between_words_and_is_given_once(
    log_probs_of, config, seed, frames, spaces
):
    log_probs = log_probs_of(seed, frames, 5, 2.0)
    log_probs[:, 1] += spaces
    log_probs = log_probs.log_softmax(1)[None]
    (found,) = decoder(config).decode(log_probs, torch.tensor([frames]))
    texts = [h.text for h in found]
    assert texts == [" ".join(text.split()) for text in texts]
    assert len(set(texts)) == len(texts)
    for h in found:
        assert "".join(" " if t.token == "<space>" else t.token for t in h.tokens) == h.text


@each
@pytest.mark.parametrize("path", [[1], [1, 0, 1], [0, 1, 1]])
def test_nothing_but_spaces_is_no_text(config, path):
    log_probs = torch.full((1, len(path), 5), -20.0)
    log_probs[0, range(len(path)), path] = 0.0
    ((found, *_),) = decoder(config).decode(log_probs.log_softmax(2), torch.tensor([len(path)]))
    assert (found.text, found.tokens, found.words) == ("", (), ())
    assert found.confidence == pytest.approx(1.0)


def frame_by_frame(log_probs, lengths):
    """Best-path decoding as a plain loop: each frame's best token, runs merged, blanks dropped."""
    results = []
    for frames, count in zip(log_probs.float().numpy(), lengths.tolist(), strict=True):
        frames = frames[:count]
        found, previous, score = [], 0, 0.0
        for t, frame in enumerate(frames):
            token = int(frame.argmax())
            score += float(frame[token])
            if token and token == previous:
                found[-1] = (token, found[-1][1], t + 1)
            elif token:
                found.append((token, t, t + 1))
            previous = token
        words = [
            span
            for span, before in zip(found, [(1, 0, 0), *found], strict=False)
            if (span[0], before[0]) != (1, 1)
        ]
        found = words[:-1] if words and words[-1][0] == 1 else words
        results.append([hypothesis(frames, found, score, LETTERS, 0.02)])
    return results


@given(
    seed=st.integers(0, 10**6),
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    levels=st.sampled_from([None, 2, 4]),
)
@settings(max_examples=60, deadline=None)
def test_greedy_is_to_the_bit_a_loop_over_frames(log_probs_of, seed, lengths, levels):
    log_probs = torch.stack([log_probs_of(seed + i, 60, 5, 2.0) for i in range(len(lengths))])
    if levels is not None:  # few different values: several tokens of a frame are the best
        log_probs = (log_probs * levels / 4).round() / levels - 0.1
    found = decoder(CONFIGS[0]).decode(log_probs, torch.tensor(lengths))
    assert found == frame_by_frame(log_probs, torch.tensor(lengths))


@each
def test_certain_log_probs_with_minus_infinity(config):
    log_probs = torch.full((1, 6, 5), -math.inf)
    for t, k in enumerate([0, 2, 2, 0, 2, 3]):
        log_probs[0, t, k] = 0.0
    ((found, *_),) = decoder(config).decode(log_probs, torch.tensor([6]))
    assert (found.text, found.score, found.confidence) == ("aab", 0.0, 1.0)
    assert [(t.start, t.end) for t in found.tokens] == [
        pytest.approx((0.02, 0.06)),
        pytest.approx((0.08, 0.10)),
        pytest.approx((0.10, 0.12)),
    ]


@each
@pytest.mark.parametrize("blanks", [0, 1, 7])
def test_nothing_but_blanks_gives_an_empty_hypothesis(config, blanks):
    log_probs = torch.full((1, blanks, 5), math.log(0.01))
    log_probs[..., 0] = math.log(0.96)
    ((found, *_),) = decoder(config).decode(log_probs, torch.tensor([blanks]))
    assert (found.text, found.tokens, found.words) == ("", (), ())
    silence = 0.96 if config.name == "greedy" else 0.97  # others add up spaces as well
    assert found.score == pytest.approx(blanks * math.log(silence))
    assert found.confidence == pytest.approx(0.96 if blanks else 1.0)


@each
def test_an_empty_batch(config):
    assert decoder(config).decode(torch.zeros(0, 4, 5), torch.zeros(0, dtype=torch.int64)) == []


@each
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_broken_values_name_their_utterance(log_probs_of, config, value):
    log_probs = torch.stack([log_probs_of(i, 4, 5) for i in range(3)])
    log_probs[2, 1, 3] = value
    with pytest.raises(DecodingError, match=r"utterance 2 .*frame 1"):
        decoder(config).decode(log_probs, torch.tensor([4, 4, 4]))


@each
def test_a_frame_without_a_possible_token_names_its_utterance(log_probs_of, config):
    log_probs = torch.stack([log_probs_of(i, 4, 5) for i in range(2)])
    log_probs[0, 3] = -math.inf
    with pytest.raises(DecodingError, match=r"utterance 0 .*frame 3"):
        decoder(config).decode(log_probs, torch.tensor([4, 4]))


@each
@pytest.mark.parametrize(
    ("shape", "lengths"),
    [((2, 3), [2, 2]), ((1, 3, 4), [3]), ((1, 3, 5), [4]), ((1, 3, 5), [-1]), ((2, 3, 5), [3])],
)
def test_shapes_that_do_not_fit_are_refused(config, shape, lengths):
    with pytest.raises(DecodingError, match="give"):
        decoder(config).decode(torch.zeros(shape), torch.tensor(lengths))


@each
def test_half_precision_and_gradients_are_no_obstacle(log_probs_of, config):
    log_probs = log_probs_of(0, 12, 5)[None].to(torch.bfloat16)
    expected = decoder(config).decode(log_probs.float(), torch.tensor([12]))
    assert decoder(config).decode(log_probs.requires_grad_(), torch.tensor([12])) == expected
    assert np.isfinite([h.score for h in expected[0]]).all()
