"""Alignment of a known text: the best path's tokens, and boundaries that make sense."""

from __future__ import annotations

import itertools
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asr.decoding.align import SPIKES, AlignConfig, align
from asr.decoding.lexicon import Lexicon
from asr.tokens import Tokenizer, min_frames
from asr.types import AlignmentError, AsrError, ConfigError, TokenError

LETTERS = Tokenizer(["<blank>", "<space>", "a", "b", "c"])
STEP = 0.02

texts = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4).map(" ".join)
configs = st.builds(
    AlignConfig,
    earlier_share=st.floats(0, 1),
    shift=st.none() | st.floats(-3 * STEP, 3 * STEP),
    max_stretch=st.sampled_from([0.0, 0.03, 0.25, 1e6]),
)


@given(seed=st.integers(0, 10**6), frames=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_the_score_is_that_of_the_best_of_all_paths(log_probs_of, every_path, seed, frames):
    log_probs = log_probs_of(seed, frames, 4).numpy()
    tokenizer = Tokenizer(["<blank>", "x", "y", "z"])
    for labels, (score, _) in every_path(log_probs)[1].items():
        if labels:
            found = align(log_probs, tokenizer.decode(labels), tokenizer, STEP)
            assert found.text == tokenizer.decode(labels)
            assert found.score == pytest.approx(score, abs=1e-5)


@given(seed=st.integers(0, 10**6), text=texts, frames=st.integers(1, 60), config=configs)
@settings(max_examples=150, deadline=None)
def test_tokens_are_the_text_in_order_none_empty_and_none_over_another(
    log_probs_of, seed, text, frames, config
):
    labels = LETTERS.encode(text)
    assume(frames >= min_frames(labels))
    found = align(log_probs_of(seed, frames, 5).numpy(), text, LETTERS, STEP, config)
    assert [t.token for t in found.tokens] == [LETTERS.tokens[k] for k in labels]
    assert [w.text for w in found.words] == text.split()
    assert all(0.0 <= t.start < t.end <= frames * STEP + 1e-9 for t in found.tokens)
    assert all(a.end <= b.start + 1e-9 for a, b in pairwise(found.tokens))
    assert all(0.0 <= t.confidence <= 1.0 for t in found.tokens)
    spikes = align(log_probs_of(seed, frames, 5).numpy(), text, LETTERS, STEP, SPIKES).tokens
    for own, spike in zip(found.tokens, spikes, strict=True):
        kept = min(own.end, spike.end) - max(own.start, spike.start)
        assert kept >= 0.25 * STEP - 1e-9


def spiked(frames: int, spikes: dict[int, int]) -> np.ndarray:
    """Log-probabilities of blanks with a token in some frames, 0.9 each."""
    probs = np.full((frames, 5), 0.025, dtype=np.float32)
    probs[range(frames), [spikes.get(t, 0) for t in range(frames)]] = 0.9
    return np.log(probs)


def times(found):
    return [round(edge / STEP, 6) for t in found.tokens for edge in (t.start, t.end)]


def test_spikes_are_where_the_model_says_the_tokens():
    log_probs = spiked(20, {2: 2, 12: 3, 13: 3})
    found = align(log_probs, "ab", LETTERS, STEP, SPIKES)
    assert times(found) == [2, 3, 12, 14]
    assert [t.confidence for t in found.tokens] == pytest.approx([0.9, 0.9])
    assert found.score == pytest.approx(20 * math.log(0.9), abs=1e-4)


def test_a_gap_is_divided_by_the_share_and_moved_by_the_shift():
    log_probs = spiked(20, {2: 2, 12: 3})
    midpoint = AlignConfig(earlier_share=0.5, shift=0.0, max_stretch=1.0)
    assert times(align(log_probs, "ab", LETTERS, STEP, midpoint)) == [2, 7.5, 7.5, 13]
    later = AlignConfig(earlier_share=0.6, shift=STEP, max_stretch=1.0)
    assert times(align(log_probs, "ab", LETTERS, STEP, later)) == [2.75, 9.4, 9.4, 14]


@pytest.mark.parametrize("lag", [0.011, -0.004])
def test_without_a_shift_boundaries_move_by_the_frames_lag(lag):
    log_probs = spiked(20, {2: 2, 12: 3})
    own = align(log_probs, "ab", LETTERS, STEP, AlignConfig(), frame_lag=lag)
    given = align(log_probs, "ab", LETTERS, STEP, AlignConfig(shift=lag + 0.009))
    assert times(own) == times(given)
    assert times(align(log_probs, "ab", LETTERS, STEP, SPIKES, frame_lag=lag)) == [2, 3, 12, 13]


def test_a_pause_belongs_to_nobody():
    log_probs = spiked(100, {10: 2, 90: 3})
    config = AlignConfig(earlier_share=0.5, shift=0.0, max_stretch=0.1)
    assert times(align(log_probs, "ab", LETTERS, STEP, config)) == [10, 16, 85, 91]


def test_confidence_tells_the_token_that_was_not_said():
    found = align(spiked(20, {2: 2, 8: 3, 12: 4}), "aac", LETTERS, STEP)
    assert [t.confidence > 0.5 for t in found.tokens] == [True, False, True]


def test_white_space_around_and_between_words_is_one_space():
    log_probs = spiked(20, {2: 2, 8: 1, 12: 4})
    assert align(log_probs, " a \t\n c\n", LETTERS, STEP) == align(log_probs, "a c", LETTERS, STEP)


def test_an_unknown_symbol_is_named():
    with pytest.raises(TokenError, match=r"'Ä'.*normalise"):
        align(spiked(20, {}), "aÄ", LETTERS, STEP)


@pytest.mark.parametrize(
    ("frames", "text", "message"),
    [
        (20, " \n", "no text"),
        (0, "a", "needs 1 frames.*has 0"),
        (3, "abca", "needs 4 frames, 0.08 s.*has 3.*belong together"),
        (4, "aab", None),
        (3, "aab", "needs 4 frames.*has 3"),
    ],
)
def test_a_text_that_cannot_be_aligned_is_refused(frames, text, message):
    if message is None:
        assert align(spiked(frames, {}), text, LETTERS, STEP).text == text
        return
    with pytest.raises(AlignmentError, match=message):
        align(spiked(frames, {}), text, LETTERS, STEP)


def test_a_token_that_the_model_holds_for_impossible_is_refused():
    log_probs = spiked(5, {2: 2})
    log_probs[:, 4] = -math.inf
    with pytest.raises(AlignmentError, match="no possible path"):
        align(log_probs, "ac", LETTERS, STEP)


@pytest.mark.parametrize(
    "options",
    [
        {"earlier_share": 1.1},
        {"earlier_share": math.nan},
        {"shift": -1.5},
        {"shift": math.inf},
        {"max_stretch": -0.1},
        {"max_stretch": math.inf},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match="give"):
        AlignConfig(**options)


# Words by their pronunciations

PHONES = Tokenizer(["<blank>", "x", "y", "sil"], "phones")


def collapsed(path):
    return tuple(k for k, _ in itertools.groupby(path) if k)


def says(path, ways, silences):
    """Whether a path of tokens is the words in one of these ways, silences anywhere between."""
    if not ways:
        return all(k == 0 or k in silences for k in path)
    for way in ways[0]:
        for start in range(len(path) + 1):
            if not all(k == 0 or k in silences for k in path[:start]):
                break
            for end in range(start + len(way), len(path) + 1):
                joins = start > 0 and path[start - 1] == path[start]
                own = collapsed(path[start:end]) == way and path[start] and path[end - 1]
                touches = end < len(path) and path[end] == path[end - 1]
                if own and not joins and not touches and says(path[end:], ways[1:], silences):
                    return True
    return False


@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(1, 6),
    ways=st.lists(
        st.lists(
            st.lists(st.integers(1, 2), min_size=1, max_size=2).map(tuple), min_size=1, max_size=3
        ),
        min_size=1,
        max_size=3,
    ),
    silences=st.sampled_from([(), (3,)]),
)
@settings(max_examples=60, deadline=None)
def test_words_have_the_best_of_all_paths_through_all_pronunciations(
    log_probs_of, seed, frames, ways, silences
):
    log_probs = log_probs_of(seed, frames, 4).numpy()
    paths = [p for p in itertools.product(range(4), repeat=frames) if says(p, ways, silences)]
    names = [f"word{number}" for number in range(len(ways))]
    lexicon = Lexicon(
        {name: tuple(dict.fromkeys(each)) for name, each in zip(names, ways, strict=True)},
        None,
        silences,
    )
    text = " ".join(names)
    if not paths:
        with pytest.raises(AlignmentError, match=f"and the audio has {frames} "):
            align(log_probs, text, PHONES, STEP, SPIKES, lexicon)
        return
    found = align(log_probs, text, PHONES, STEP, SPIKES, lexicon)
    best = max(sum(float(log_probs[t, k]) for t, k in enumerate(path)) for path in paths)
    assert found.score == pytest.approx(best, abs=1e-5)
    assert [word.text for word in found.words] == names
    tokens = iter(found.tokens)
    for word, each in zip(found.words, ways, strict=True):
        own = [next(tokens)]
        while own[-1].end < word.end:
            own.append(next(tokens))
        assert own[0].start == word.start
        assert tuple(PHONES.tokens.index(token.token) for token in own) in each
    assert next(tokens, None) is None


def test_the_pronunciation_that_was_said_is_found_and_words_keep_their_writing():
    lexicon = Lexicon({"OX": ((1, 2), (2, 1)), "y": ((2,),)}, None, (3,))
    log_probs = np.full((12, 4), -6.0, dtype=np.float32)
    for t, k in enumerate([0, 2, 0, 1, 3, 3, 2, 2, 0, 0, 0, 0]):
        log_probs[t, k] = -0.02
    found = align(log_probs, " ox  Y ", PHONES, STEP, SPIKES, lexicon)
    assert found.text == "ox Y"
    assert [token.token for token in found.tokens] == ["y", "x", "y"]
    assert [word.text for word in found.words] == ["ox", "Y"]
    times = [round(t / STEP) for word in found.words for t in (word.start, word.end)]
    assert times == [1, 4, 6, 8]
    assert found.score == pytest.approx(12 * -0.02, abs=1e-5)
    phones = align(log_probs, "y x y", PHONES, STEP, SPIKES, lexicon)
    assert not phones.words


@pytest.mark.parametrize(
    ("text", "lexicon", "message"),
    [
        ("OX HAT HAT", Lexicon({"OX": ((1,),)}), "the lexicon lacks: 'HAT' "),
        ("OX", None, "writes phones, and 'OX' is none.*or a lexicon"),
        (" ".join(["OX"] * 9), Lexicon({"OX": ((1, 1), (2,))}), "needs 17 frames"),
        ("OX OX OX", Lexicon({"OX": ((1, 2), (2, 1))}), "needs 6 frames"),
        ("OX", Lexicon({"OX": ()}), "the lexicon lacks: 'OX'"),
    ],
)
def test_words_that_cannot_be_aligned_are_refused(text, lexicon, message):
    with pytest.raises(AsrError, match=message):
        align(np.full((5, 4), -1.4, np.float32), text, PHONES, STEP, None, lexicon)
