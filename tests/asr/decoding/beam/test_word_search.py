"""Beam search over words said by a lexicon, against all paths, all pronunciations and all words."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding import BeamOptions, Stop, make_decoder
from asr.decoding.beam.language import Language
from asr.decoding.lexicon import Lexicon
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.tokens import Tokenizer

PHONES = Tokenizer(["<blank>", "a", "b", "sil"], kind="phones")
QUIETER = Tokenizer(["<blank>", "a", "sil", "sp"], kind="phones")
LETTERS = Tokenizer(["<blank>", "<space>", "a", "b"])
JOINED = Tokenizer(["<blank>", "a", "b", "c"])
EXHAUSTIVE = BeamOptions(
    beam_width=1024, nbest=1024, token_min_log_prob=-math.inf, beam_threshold=None
)


def lm_of(*sentences: str, order: int = 3) -> LanguageModel:
    units = [[unit.encode() for unit in sentence.split()] for sentence in sentences]
    return LanguageModel(estimate(units, KneserNeyConfig(order, discount_fallback=FALLBACK)))


WORDS = lm_of("eye see", "I see eye", "a I", "bee a bee", "see I I", "a a eye bee")
# "I" and "eye" are said alike, "a" in two ways, "see" begins as "a", "new" is not in the model.
SPOKEN = Lexicon(
    {
        "I": ((1,),),
        "eye": ((1,),),
        "a": ((2,), (1, 2)),
        "see": ((2, 2), (2, 1, 1)),
        "new": ((1, 1),),
    },
    None,
    (3,),
)
QUIET = replace(SPOKEN, silences=())
MUTE = Lexicon({"I": ((1,),), "eye": ((1, 2, 1),), "bee": ((2,),)}, None, (2, 3))
SPELLED = Lexicon(
    {"I": ((2,),), "eye": ((2,), (3, 3)), "see": ((2, 3),), "bee": ((3,),), "new": ((2, 1, 3),)}, 1
)
PLAIN = Lexicon({"I": ((1,),), "see": ((1, 2), (3,)), "bee": ((2,),)}, None)

languages = st.sampled_from(
    [
        (PHONES, Language(PHONES, WORDS, SPOKEN)),
        (PHONES, Language(PHONES, None, SPOKEN)),
        (PHONES, Language(PHONES, WORDS, QUIET)),
        (QUIETER, Language(QUIETER, WORDS, MUTE)),
        (LETTERS, Language(LETTERS, WORDS, SPELLED)),
        (LETTERS, Language(LETTERS, None, SPELLED)),
        (JOINED, Language(JOINED, WORDS, PLAIN)),
    ]
)
options = st.fixed_dictionaries(
    {
        "lm_weight": st.sampled_from([0.0, 0.3, 1.0, 2.5]),
        "word_score": st.sampled_from([0.0, 1.5, -0.7]),
        "unk_score": st.sampled_from([None, 0.0, -2.5]),
    }
)


def readings(labels: tuple[int, ...], lexicon: Lexicon, vocab: int, *, unknown: bool):
    """Each way to read a labelling as words, with the logarithm of what unknown words cost."""
    between = {lexicon.separator} if lexicon.separator is not None else set(lexicon.silences)
    letters = -math.log(vocab - 1 - len(between))

    @lru_cache(None)
    def read(at: int, before: str) -> list[tuple[tuple[str, ...], float]]:
        """``before``: what stands before: "start", "silence", "word" or "unknown"."""
        found = [((), 0.0)] if at == len(labels) else []
        if at < len(labels) and labels[at] in between:
            found += read(at + 1, "start" if before == "start" else "silence")
        if before in ("word", "unknown") and lexicon.separator is not None:
            return found
        for word, ways in lexicon.pronunciations.items():
            for way in ways:
                if labels[at : at + len(way)] == way:
                    found += [((word, *w), s) for w, s in read(at + len(way), "word")]
        if unknown and before != "unknown":
            end = at
            while end < len(labels) and labels[end] not in between:
                end += 1
                cost = letters * (end - at)
                found += [(("<unk>", *w), s + cost) for w, s in read(end, "unknown")]
        return found

    return read(0, "start")


def every_sentence(log_probs, every_path, lexicon: Lexicon, *, unknown: bool):
    """Of each sequence of words: the log-sum over paths and ways to say it."""
    total: dict[tuple[str, ...], float] = {}
    for labels, score in every_path(log_probs.numpy())[0].items():
        for words, cost in readings(labels, lexicon, log_probs.shape[1], unknown=unknown):
            total[words] = float(np.logaddexp(total.get(words, -np.inf), score + cost))
    return total


def expected_parts(words, config, language):
    lm = 0.0
    if language.lm is not None and config.lm_weight:
        lm = config.lm_weight * math.log(10) * float(language.lm.score_sentence(words).sum())
    unknown = sum(word == "<unk>" for word in words)
    return lm, config.word_score * len(words) + unknown * (config.unk_score or 0.0)


def as_words(hypothesis, lexicon) -> tuple[str, ...]:
    """Unknown words are written as they are spelled."""
    words = [word.text for word in hypothesis.words]
    return tuple(word if word in lexicon.pronunciations else "<unk>" for word in words)


@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(0, 10),
    width=st.integers(1, 3),
    options=options,
    language=languages,
)
@settings(max_examples=100, deadline=None)
def test_a_narrow_beam_finds_nothing_worse_than_what_the_best_path_says(
    log_probs_of, collapsed, seed, frames, width, options, language
):
    tokenizer, language = language
    config = BeamOptions(beam_width=width, nbest=width, **options)
    log_probs = log_probs_of(seed, frames, 4)
    labels = collapsed(log_probs.argmax(dim=1).tolist())
    acoustic = float(log_probs.max(dim=1).values.sum()) if frames else 0.0
    unknown = config.unk_score is not None
    read = readings(labels, language.lexicon, 4, unknown=unknown)
    bars = [acoustic + cost + sum(expected_parts(words, config, language)) for words, cost in read]
    decoder = make_decoder(config, tokenizer, 0.02, language)
    found = decoder.search(log_probs.numpy(), width, Stop())
    assert not bars or found[0].score >= max(bars) - 1e-5
    scores = [sentence.score for sentence in found]
    assert scores == sorted(scores, reverse=True)
    assert len({sentence.words for sentence in found}) == len(found) <= width


@given(seed=st.integers(0, 10**6), frames=st.integers(0, 5), options=options, language=languages)
@settings(max_examples=150, deadline=None)
def test_a_wide_beam_is_the_sum_over_all_paths_and_pronunciations_of_all_sentences(
    log_probs_of, every_path, seed, frames, options, language
):
    tokenizer, language = language
    config = replace(EXHAUSTIVE, **options)
    log_probs = log_probs_of(seed, frames, 4)
    unknown = config.unk_score is not None
    acoustic = every_sentence(log_probs, every_path, language.lexicon, unknown=unknown)
    decoder = make_decoder(config, tokenizer, 0.02, language)
    (found,) = decoder.decode(log_probs[None], torch.tensor([frames]))
    by_words = {as_words(h, language.lexicon): h for h in found}
    assert len(by_words) == len(found)
    assert len(found) == min(len(acoustic), 1024)
    for words, h in by_words.items():
        lm, bonus = expected_parts(words, config, language)
        parts = (h.acoustic_score, h.lm_score, h.bonus_score)
        assert parts == pytest.approx((acoustic[words], lm, bonus), abs=1e-5)
        assert h.score == pytest.approx(sum(parts), abs=1e-5)
    scores = [h.score for h in found]
    assert scores == sorted(scores, reverse=True)
