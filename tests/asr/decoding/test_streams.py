"""Decoding by pieces: the result of the whole, and partials that keep what they promise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding import GreedyOptions, PrefixOptions, Stop, StoppedError, make_decoder
from asr.tokens import Tokenizer
from asr.types import DecodingError

SECONDS = 0.02  # a frame
LETTERS = Tokenizer(["<blank>", "<space>", "a", "b", "c"])
PHONES = Tokenizer(["<blank>", "a", "b", "c"], kind="phones")
UNSPACED = Tokenizer(["<blank>", "a", "b", "c"])
SUBWORDS = Tokenizer(["<blank>", "▁", "▁a", "b", "▁b"], "subwords", [-3.0, -1.0, -2.0, -2.5])
VOCABULARIES = [LETTERS, PHONES, UNSPACED, SUBWORDS]
DECODERS = {
    "greedy": [make_decoder(GreedyOptions(), tokenizer, SECONDS) for tokenizer in VOCABULARIES],
    "prefix": [make_decoder(PrefixOptions(nbest=2, max_expansions=3), LETTERS, SECONDS)],
}
each = pytest.mark.parametrize("name", DECODERS)


def pushed(decoder, log_probs, sizes, **options):
    """Partials of pieces of these sizes and of what is left, and the hypotheses."""
    stream = decoder.begin(**options)
    pieces = log_probs.split([*sizes, len(log_probs) - sum(sizes)])
    return [stream.push(piece, words=True) for piece in pieces], stream.finish()


@st.composite
def utterances(draw):
    """Frames' seed and sharpness, and sizes of pieces: empty ones, single frames, long ones."""
    sizes = draw(st.lists(st.sampled_from([0, 1, 1, 2, 5, 17]), max_size=8))
    return draw(st.integers(0, 10**6)), draw(st.sampled_from([1.0, 3.0, 8.0])), sizes


@each
@given(utterance=utterances(), more=st.integers(0, 12), number=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_any_pieces_give_what_the_whole_gives(log_probs_of, name, utterance, more, number):
    """Texts, scores, times and confidences, to the bit."""
    decoder = DECODERS[name][number % len(DECODERS[name])]
    seed, sharpness, sizes = utterance
    frames = sum(sizes) + more
    log_probs = log_probs_of(seed, frames, decoder.tokenizer.size, sharpness)
    [whole] = decoder.decode(log_probs[None], torch.tensor([frames]))
    partials, found = pushed(decoder, log_probs, sizes)
    assert found == whole
    assert partials[-1].end == frames * SECONDS


@each
@given(utterance=utterances(), more=st.integers(0, 12), number=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_what_is_stable_is_never_taken_back(log_probs_of, name, utterance, more, number):
    decoder = DECODERS[name][number % len(DECODERS[name])]
    seed, sharpness, sizes = utterance
    log_probs = log_probs_of(seed, sum(sizes) + more, decoder.tokenizer.size, sharpness)
    partials, (final, *_) = pushed(decoder, log_probs, sizes)
    stable, words = "", []
    for partial in partials:
        assert partial.text.startswith(partial.stable)
        assert partial.stable.startswith(stable)
        assert 0.0 <= partial.stability <= 1.0
        assert partial.stability == 1.0 or partial.text != partial.stable
        stable = partial.stable
        said = [word.text for word in partial.words]
        assert said[: len(words)] == words[: len(said)]
        words = said[: partial.stable_words]
    assert final.text.startswith(stable)
    assert [word.text for word in final.timed_words()][: len(words)] == words


@given(utterance=utterances(), more=st.integers(1, 12), number=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_the_last_greedy_partial_has_the_text_and_words_of_the_final(
    log_probs_of, utterance, more, number
):
    decoder = DECODERS["greedy"][number]
    seed, sharpness, sizes = utterance
    log_probs = log_probs_of(seed, sum(sizes) + more, decoder.tokenizer.size, sharpness)
    partials, (final,) = pushed(decoder, log_probs, sizes)
    assert (partials[-1].text, partials[-1].words) == (final.text, final.timed_words())


@each
def test_times_count_from_the_first_frame_that_was_heard(log_probs_of, name):
    decoder = DECODERS[name][0]
    log_probs = log_probs_of(1, 30, decoder.tokenizer.size)
    _, (plain, *_) = pushed(decoder, log_probs, [7])
    partials, (later, *_) = pushed(decoder, log_probs, [7], first_frame=1000)
    assert partials[-1].end == pytest.approx(1030 * SECONDS)
    assert plain.tokens
    for early, late in zip(plain.tokens, later.tokens, strict=True):
        moved = replace(early, start=early.start + 20.0, end=early.end + 20.0)
        assert (late.start, late.end) == pytest.approx((moved.start, moved.end))
        assert (late.token, late.confidence) == (early.token, early.confidence)
    assert replace(later, tokens=(), words=()) == replace(plain, tokens=(), words=())


@each
@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (torch.zeros(3, 2), r"shape \(3, 2\) \(give \(T, 5\)"),
        (torch.zeros(5), r"shape \(5,\)"),
        (torch.zeros(1, 3, 5), r"shape \(1, 3, 5\)"),
        (torch.full((2, 5), math.nan), r"the stream .*at frame 4"),
        (torch.full((2, 5), -math.inf), r"the stream .*at frame 4"),
    ],
)
def test_a_piece_that_cannot_be_used_is_refused_and_changes_nothing(
    log_probs_of, name, piece, message
):
    decoder = DECODERS[name][0]
    log_probs = log_probs_of(2, 20, 5)
    [whole] = decoder.decode(log_probs[None], torch.tensor([20]))
    stream = decoder.begin()
    stream.push(log_probs[:4])
    with pytest.raises(DecodingError, match=message):
        stream.push(piece)
    stream.push(log_probs[4:])
    assert stream.finish() == whole


@each
def test_a_stream_that_has_finished_says_so(name):
    stream = DECODERS[name][0].begin()
    stream.finish()
    for call in (stream.finish, lambda: stream.push(torch.zeros(1, 5))):
        with pytest.raises(DecodingError, match=r"has finished \(begin another stream\)"):
            call()


@each
def test_a_stream_stops_where_another_thread_asks_for_it(log_probs_of, name):
    stop = Stop()
    stream = DECODERS[name][0].begin(stop)
    stream.push(log_probs_of(3, 5, 5))
    stop.set()
    with pytest.raises(StoppedError):
        stream.push(log_probs_of(4, 5, 5))
    with pytest.raises(StoppedError):
        stream.finish()


@each
def test_streams_of_one_decoder_know_nothing_of_each_other(log_probs_of, name):
    decoder = DECODERS[name][0]
    inputs = [log_probs_of(seed, 30, 5) for seed in range(3)]
    streams = [decoder.begin() for _ in inputs]
    for start in range(0, 30, 4):
        for stream, log_probs in zip(streams, inputs, strict=True):
            stream.push(log_probs[start : start + 4])
    lengths = torch.tensor([30, 30, 30])
    assert [stream.finish() for stream in streams] == decoder.decode(torch.stack(inputs), lengths)
