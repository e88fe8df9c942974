"""Estimates equal KenLM's, and are probabilities."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.lm.arpa import read_arpa
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.lm.ngrams import BEGIN, END, UNKNOWN
from asr.lm.text import read_sentences, read_vocabulary
from asr.lm.trie import ROOT
from asr.types import ConfigError, CorpusError

AS_LMPLZ = {
    "order1": {"order": 1, "discount_fallback": FALLBACK},
    "order2": {"order": 2},
    "order3": {"order": 3},
    "order4": {"order": 4},
    "order3-pruned": {"order": 3, "prune": (0, 0, 1)},
    "order4-pruned": {"order": 4, "prune": (0, 1, 1, 2)},
    "order3-limited": {"order": 3, "vocabulary": "vocabulary.txt"},
    "order3-fallback": {"order": 3, "discount_fallback": FALLBACK},
}


def sentences(text: str) -> list[list[bytes]]:
    return [line.encode().split() for line in text.splitlines()]


@pytest.mark.parametrize("name", AS_LMPLZ)
def test_equals_lmplz(name, lmplz, entries_of):
    options = dict(AS_LMPLZ[name])
    if "vocabulary" in options:
        options["vocabulary"] = read_vocabulary(lmplz / options["vocabulary"])
    text = lmplz / ("short.txt" if name == "order3-fallback" else "text.txt")
    ours = entries_of(estimate(read_sentences([text]), KneserNeyConfig(**options)))
    theirs = entries_of(read_arpa(lmplz / f"{name}.arpa.gz"))
    assert ours.keys() == theirs.keys()
    for ngram, values in theirs.items():
        assert ours[ngram] == pytest.approx(values, abs=2e-6), ngram


TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "d", "é"]).map(str.encode), min_size=1, max_size=7),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=150)
@given(
    text=TEXTS,
    order=st.integers(1, 4),
    prune=st.lists(st.integers(0, 2), max_size=4).map(sorted),
    vocab_limit=st.none() | st.integers(1, 4),
)
def test_probabilities_after_every_context_sum_to_one(text, order, prune, vocab_limit):
    config = KneserNeyConfig(order, tuple(prune[:order]), vocab_limit, discount_fallback=FALLBACK)
    ngrams = estimate(text, config)
    model = LanguageModel(ngrams)
    contexts = [[], *(row for table in ngrams.tables[:-1] for row in table.words.tolist())]
    for context in contexts:
        if context and context[-1] in (model.end, model.unknown):
            continue  # nothing comes after them in a text
        state = ROOT
        for word in context:
            state = model.score(state, word)[1]
        words = [word for word in range(len(model.vocabulary)) if word != model.begin]
        total = sum(10 ** model.score(state, word)[0] for word in words)
        assert total == pytest.approx(1, abs=1e-6), context


def test_repeated_text_has_the_model_of_the_same_text_in_any_sequence(entries_of):
    text = sentences("a b c\nb c a d\nc c\na b\nd a b c")
    config = KneserNeyConfig(3, (0, 1), discount_fallback=FALLBACK)
    shuffled = random.Random(0).sample(text, len(text))
    ours, other = (entries_of(estimate(t, config)) for t in (text, shuffled))
    assert ours.keys() == other.keys()
    for ngram, values in ours.items():
        assert other[ngram] == pytest.approx(values, abs=1e-6)


def test_vocabulary_limit_keeps_the_commonest_and_of_these_the_first():
    text = sentences("b a c a\nd b c a")
    config = KneserNeyConfig(2, vocab_limit=2, discount_fallback=FALLBACK)
    ngrams = estimate(text, config)
    assert ngrams.vocabulary == (UNKNOWN, BEGIN, END, "b", "a")


def test_pruning_leaves_out_what_is_seen_that_often(entries_of):
    text = sentences("a b\na b\na c")
    config = KneserNeyConfig(2, (0, 1), discount_fallback=FALLBACK)
    kept = {ngram for ngram in entries_of(estimate(text, config)) if len(ngram) == 2}
    assert kept == {(BEGIN, "a"), ("a", "b"), ("b", END)}


def test_a_text_too_small_is_refused_with_the_remedy():
    with pytest.raises(CorpusError, match=r"no discounts for 1-grams: .*--discount-fallback"):
        estimate(sentences("a b\na c"), KneserNeyConfig(2))


def test_an_empty_text_is_refused():
    with pytest.raises(CorpusError, match="the text is empty"):
        estimate([], KneserNeyConfig(2, discount_fallback=FALLBACK))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 0}, "the order is 0"),
        ({"order": 11}, "the order is 11"),
        ({"prune": (0, 2, 1)}, "pruning is 0 2 1"),
        ({"prune": (-1,)}, "pruning is -1"),
        ({"prune": (0, 0, 0, 1)}, "pruning is 0 0 0 1"),
        ({"vocab_limit": 0}, "the vocabulary limit is 0"),
        ({"vocab_limit": 5, "vocabulary": frozenset("a")}, "both a vocabulary and a limit"),
        ({"discount_fallback": (0.5, 1.0, 3.5)}, "the fallback discounts are 0.5 1 3.5"),
        ({"discount_fallback": (float("nan"), 1.0, 1.5)}, "the fallback discounts are nan"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        KneserNeyConfig(**options)
