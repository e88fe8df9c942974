"""Decoding by pieces: the result of the whole, and partials that keep what they promise."""

from __future__ import annotations

import gc
import math
import sys
from dataclasses import replace
from types import FunctionType, ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding import (
    BeamOptions,
    GreedyOptions,
    Phrase,
    PrefixOptions,
    Stop,
    StoppedError,
    make_decoder,
)
from asr.decoding.beam import token_stream, word_stream
from asr.decoding.beam.language import Language
from asr.decoding.lexicon import Lexicon, spell_words
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.tokens import Tokenizer
from asr.types import DecodingError

SECONDS = 0.02  # a frame
LETTERS = Tokenizer(["<blank>", "<space>", "a", "b", "c"])
PHONES = Tokenizer(["<blank>", "a", "b", "c"], kind="phones")
UNSPACED = Tokenizer(["<blank>", "a", "b", "c"])
SUBWORDS = Tokenizer(["<blank>", "▁", "▁a", "b", "▁b"], "subwords", [-3.0, -1.0, -2.0, -2.5])
VOCABULARIES = [LETTERS, PHONES, UNSPACED, SUBWORDS]
SENTENCES = ["a", "a ab", "ba a", "ab ab a", "b ba ab", "a ba", "ab b"]
LM = LanguageModel(
    estimate(
        [[word.encode() for word in sentence.split()] for sentence in SENTENCES],
        KneserNeyConfig(2, discount_fallback=FALLBACK),
    )
)
SPOKEN = Lexicon({"a": ((1,), (1, 2)), "ab": ((1, 2),), "b": ((2,),), "ba": ((3, 1),)})
RESPELLED = Lexicon({"a": ((2, 2),), "ab": ((2, 3),), "b": ((3,), (4,)), "ba": ((4, 2),)}, 1)


def beam(tokenizer=LETTERS, language=None, phrases=(), **options):
    options = BeamOptions(**{"beam_width": 6, "nbest": 3, **options})
    return make_decoder(options, tokenizer, SECONDS, language, phrases)


BEAMS = [
    beam(),
    beam(PHONES),
    beam(UNSPACED, beam_width=3, nbest=1),
    beam(SUBWORDS),
    beam(LETTERS, Language(LETTERS, LM), lm_weight=1.5, word_score=0.5),
    beam(LETTERS, Language(LETTERS, LM), [Phrase("ab a", 2.0)], unk_score=-2.0),
    beam(LETTERS, Language(LETTERS, LM, spell_words(["a", "ab", "bb"], LETTERS))),
]
WORDS = [
    beam(PHONES, Language(PHONES, LM, SPOKEN), beam_width=4),
    beam(PHONES, Language(PHONES, LM, SPOKEN), [Phrase("ab a", 2.0)], lm_weight=2.0),
    beam(LETTERS, Language(LETTERS, LM, RESPELLED), unk_score=-1.0),
    beam(LETTERS, Language(LETTERS, None, RESPELLED)),
]
DECODERS = {
    "greedy": [make_decoder(GreedyOptions(), tokenizer, SECONDS) for tokenizer in VOCABULARIES],
    "beam": BEAMS,
    "words": WORDS,
    "prefix": [make_decoder(PrefixOptions(nbest=2, max_expansions=3), LETTERS, SECONDS)],
}
OF_LETTERS = {
    name: next(decoder for decoder in decoders if decoder.tokenizer is LETTERS)
    for name, decoders in DECODERS.items()
}
each = pytest.mark.parametrize("name", DECODERS)


def pushed(decoder, log_probs, sizes, **options):
    """Partials of pieces of these sizes and of what is left, and the hypotheses."""
    stream = decoder.begin(**options)
    pieces = log_probs.split([*sizes, len(log_probs) - sum(sizes)])
    return [stream.push(piece, words=True) for piece in pieces], stream.finish()


@st.composite
def utterances(draw, name):
    """A decoder, log-probabilities, and sizes of pieces: empty ones, single frames, long ones."""
    decoder = draw(st.sampled_from(DECODERS[name]))
    sizes = draw(st.lists(st.sampled_from([0, 1, 1, 2, 5, 17, 70, 260]), max_size=8))
    if name == "prefix":  # slow, and without pieces of its own
        sizes = [min(size, 5) for size in sizes]
    frames = sum(sizes) + draw(st.integers(0, 12))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    sharpness = draw(st.sampled_from([1.0, 3.0, 8.0]))
    scores = sharpness * rng.normal(size=(frames, decoder.tokenizer.size))
    scores[:, 0] += draw(st.sampled_from([0.0, 2.0, 6.0]))  # blanks, so that words are far apart
    return decoder, torch.from_numpy(scores).float().log_softmax(-1), sizes


@each
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_pieces_give_what_the_whole_gives(name, data):
    """Texts, scores, times and confidences, to the bit."""
    decoder, log_probs, sizes = data.draw(utterances(name))
    frames = len(log_probs)
    [whole] = decoder.decode(log_probs[None], torch.tensor([frames]))
    partials, found = pushed(decoder, log_probs, sizes)
    assert found == whole
    assert partials[-1].end == frames * SECONDS


@each
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_stable_is_never_taken_back(name, data):
    decoder, log_probs, sizes = data.draw(utterances(name))
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


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_last_greedy_partial_has_the_text_and_words_of_the_final(data):
    decoder, log_probs, sizes = data.draw(utterances("greedy"))
    partials, (final,) = pushed(decoder, log_probs, sizes)
    assert (partials[-1].text, partials[-1].words) == (final.text, final.timed_words())


@each
def test_times_count_from_the_first_frame_that_was_heard(log_probs_of, name):
    decoder = OF_LETTERS[name]
    log_probs = log_probs_of(1, 30, 5)
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
    decoder = OF_LETTERS[name]
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
    stream = OF_LETTERS[name].begin()
    stream.finish()
    for call in (stream.finish, lambda: stream.push(torch.zeros(1, 5))):
        with pytest.raises(DecodingError, match=r"has finished \(begin another stream\)"):
            call()


@each
def test_a_stream_stops_where_another_thread_asks_for_it(log_probs_of, name):
    stop = Stop()
    stream = OF_LETTERS[name].begin(stop)
    stream.push(log_probs_of(3, 5, 5))
    stop.set()
    with pytest.raises(StoppedError):
        stream.push(log_probs_of(4, 5, 5))
    with pytest.raises(StoppedError):
        stream.finish()


@each
def test_streams_of_one_decoder_know_nothing_of_each_other(log_probs_of, name):
    decoder = OF_LETTERS[name]
    inputs = [log_probs_of(seed, 30, 5) for seed in range(3)]
    streams = [decoder.begin() for _ in inputs]
    for start in range(0, 30, 4):
        for stream, log_probs in zip(streams, inputs, strict=True):
            stream.push(log_probs[start : start + 4])
    lengths = torch.tensor([30, 30, 30])
    assert [stream.finish() for stream in streams] == decoder.decode(torch.stack(inputs), lengths)


def speech(tokens: int, frames: int, gap: int, seed: int = 0) -> torch.Tensor:
    """Log-probabilities ``(T, V)`` of tokens at random, one in about ``gap`` frames, and blanks."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(frames, tokens))
    scores[:, 0] += 8.0
    places = np.flatnonzero(rng.random(frames) < 1.0 / gap)
    scores[places, rng.integers(1, tokens, len(places))] += 8.0
    return torch.from_numpy(scores).float().log_softmax(-1)


def kept_bytes(stream) -> int:
    """All that can be reached from a stream, but what is shared with others."""
    seen, waiting, total = set(), [stream], 0
    while waiting:
        each = waiting.pop()
        if id(each) not in seen and not isinstance(
            each, (type, ModuleType, FunctionType, Tokenizer)
        ):
            seen.add(id(each))
            total += each.nbytes if isinstance(each, np.ndarray) else sys.getsizeof(each)
            waiting += gc.get_referents(each)
    return total


LONG = [DECODERS["greedy"][0], BEAMS[0], BEAMS[3], BEAMS[4], WORDS[1], WORDS[2]]


@pytest.mark.parametrize("number", range(len(LONG)))
def test_an_endless_stream_keeps_its_text_and_no_more(number):
    """100,000 frames, in which words are said now and then."""
    decoder = LONG[number]
    frames = speech(decoder.tokenizer.size, 5000, 25)
    stream = decoder.begin()
    kept, said = [], []
    for push in range(1000):
        start = push * 100 % 5000
        partial = stream.push(frames[start : start + 100])
        if push in (499, 999):
            kept.append(kept_bytes(stream))
            said.append(len(partial.text))
    assert kept[1] - kept[0] < 100_000 + 150 * (said[1] - said[0])
    assert len(partial.text) - len(partial.stable) < 100
    assert stream.finish()[0].text.startswith(partial.stable)


@pytest.mark.parametrize("number", range(len(LONG)))
def test_silence_without_an_end_takes_no_room_and_settles_what_was_left_open(number):
    decoder = LONG[number]
    V = decoder.tokenizer.size
    quiet = torch.full((100, V), -12.0)
    quiet[:, 0] = 0.0
    stream = decoder.begin()
    stream.push(speech(V, 300, 6, seed=1))
    kept = []
    for push in range(100):
        partial = stream.push(quiet.log_softmax(-1))
        if push in (49, 99):
            kept.append(kept_bytes(stream))
    assert kept[1] <= kept[0] + 1000
    assert partial.text == stream.finish()[0].text


@pytest.mark.parametrize("number", range(len(LONG)))
def test_words_of_a_long_utterance_are_those_of_its_best_path_in_time(number):
    """Times of what is said for good come from a window of frames: they are in order, and where the
    token is likely."""
    decoder = LONG[number]
    log_probs = speech(decoder.tokenizer.size, 1500, 12, seed=2)
    ((best, *_),) = decoder.decode(log_probs[None], torch.tensor([1500]))
    edges = [edge for token in best.tokens for edge in (token.start, token.end)]
    assert edges == sorted(edges)
    assert len(best.tokens) > 15
    assert np.mean([token.confidence for token in best.tokens]) > 0.6
    assert " ".join(word.text for word in best.timed_words()) == best.text


@pytest.mark.parametrize("seed", range(3))
def test_no_text_is_lost_where_a_phrase_wants_a_token_in_every_frame(seed):
    """What is said for good takes its frames away from the rest, which needs nearly all of them."""
    log_probs = torch.randn(600, 5, generator=torch.manual_seed(seed)).log_softmax(-1)
    decoder = beam(LETTERS, phrases=[Phrase("a", 20.0)], beam_width=16, nbest=1)
    partials, [best] = pushed(decoder, log_probs, [64] * 9)
    assert best.text.startswith(partials[-1].stable)
    # The bonus counts the phrase: 20 for each token of each of the words.
    assert len(best.text.split()) == pytest.approx(best.bonus_score / 20, abs=1)
    starts = [token.start for token in best.tokens]
    assert starts == sorted(starts)


@pytest.mark.parametrize("frames", [1400, 1600, 3000])
def test_a_best_path_that_never_agrees_with_the_beam_keeps_its_text(frames):
    """The only prefix of the beam says nothing, as a word costs too much at once."""
    log_probs = torch.full((frames, 5), -4.0)
    log_probs[:, 0], log_probs[::2, 2], log_probs[1::2, 3] = 0.0, 0.1, 0.1
    decoder = beam(LETTERS, beam_width=1, nbest=1, word_score=-5.0)
    [[best]] = decoder.decode(log_probs.log_softmax(-1)[None], torch.tensor([frames]))
    assert best.text == "ab" * (frames // 2)
    assert [token.start for token in best.tokens] == pytest.approx(
        [frame * SECONDS for frame in range(frames)]
    )


@pytest.mark.parametrize("threshold", [None, 20.0])
def test_what_is_impossible_decodes_as_what_is_nearly_so(threshold):
    """Frames of one token each, where any other has no probability at all, or next to none."""
    tokenizer = Tokenizer(["<blank>", "a", "b", "c", "sil"], kind="phones")
    ways = {"a": ((1,), (1, 2)), "ab": ((1, 2),), "b": ((2,),), "c": ((3, 3), (3,))}
    language = Language(tokenizer, None, Lexicon(ways, None, (4,)))
    decoder = beam(tokenizer, language, beam_width=16, nbest=1, beam_threshold=threshold)
    for seed in range(20):
        said = torch.randint(5, (300,), generator=torch.manual_seed(seed))
        log_probs = torch.full((300, 5), -math.inf)
        log_probs[range(300), said] = 0.0
        found = [
            decoder.decode(values[None], torch.tensor([300]))[0][0].text
            for values in (log_probs, log_probs.clamp(min=-1e4))
        ]
        assert found[0] == found[1] != ""


@pytest.mark.parametrize("number", [0, 8])
def test_no_frame_is_aligned_more_than_a_few_times(number, monkeypatch):
    """3000 frames at random, of which little is settled before it is too old."""
    decoder = [*BEAMS, *WORDS][number]
    module = word_stream if decoder in WORDS else token_stream
    name = "best_word_path" if decoder in WORDS else "best_alignment"
    aligned: list[int] = []
    honest = getattr(module, name)

    def count(frames, *arguments, **options):
        aligned.append(len(frames))
        return honest(frames, *arguments, **options)

    monkeypatch.setattr(module, name, count)
    scores = np.random.default_rng(0).normal(size=(3000, decoder.tokenizer.size))
    log_probs = torch.from_numpy(scores).float().log_softmax(-1)
    [[best, *_]] = replace(decoder, options=replace(decoder.options, nbest=1)).decode(
        log_probs[None], torch.tensor([3000])
    )
    assert best.tokens
    assert sum(aligned) < 2 * 3000


@pytest.mark.parametrize("tokenizer", [PHONES, UNSPACED])
def test_a_token_that_is_no_part_of_a_word_does_not_go_on(tokenizer):
    """So nothing but another hypothesis can change it, and here is none to speak of."""
    decoder = beam(tokenizer)
    log_probs = torch.full((6, tokenizer.size), -9.0)
    log_probs[[0, 1, 2, 3, 4, 5], [0, 1, 0, 0, 0, 2]] = 0.0
    partial = decoder.begin().push(log_probs.log_softmax(-1))
    assert partial.text != partial.stable
    assert partial.stability > 0.95
