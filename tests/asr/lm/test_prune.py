"""What is pruned is what costs least, by the definition; what stays is still a model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.lm.arpa import read_arpa
from asr.lm.kneser_ney import FALLBACK, KneserNeyConfig, estimate
from asr.lm.model import LanguageModel
from asr.lm.ngrams import BEGIN, END, Ngrams
from asr.lm.prune import prune
from asr.lm.text import read_sentences
from asr.types import ConfigError

Ngram = tuple[str, ...]
Model = Mapping[Ngram, tuple[float, float]]
MARKS = (BEGIN, END)


def prob(model: Model, context: Ngram, word: str) -> float:
    """p(word | context) by Katz's definition."""
    if (*context, word) in model:
        return 10 ** model[(*context, word)][0]
    return 10 ** model.get(context, (0.0, 0.0))[1] * prob(model, context[1:], word)


def rise_by_definition(model: Model, ngram: Ngram, history: float) -> float:
    """exp of the relative entropy between the model and the one without ``ngram``, less 1.

    After the one context that changes, all words are gone through.
    """
    context = ngram[:-1]
    words = [word for (word, *longer) in model if not longer and word != BEGIN]
    explicit = [word for word in words if (*context, word) in model]
    without = [word for word in explicit if word != ngram[-1]]
    left = 1 - sum(prob(model, context, word) for word in without)
    free = 1 - sum(prob(model, context[1:], word) for word in without)

    def changed(word: str) -> float:
        if word in without:
            return prob(model, context, word)
        return left / free * prob(model, context[1:], word)

    entropy = sum(
        prob(model, context, word) * math.log(prob(model, context, word) / changed(word))
        for word in words
    )
    return math.expm1(history * entropy)


def own_history(model: Model, context: Ngram) -> float:
    """P(h) by the chain rule; sentences begin as often as they end."""
    first = 10 ** model[(END if context[0] == BEGIN else context[0],)][0]
    return first * math.prod(
        prob(model, context[:place], context[place]) for place in range(1, len(context))
    )


def longest(model: Model) -> set[Ngram]:
    order = max(map(len, model))
    return {ngram for ngram in model if len(ngram) == order}


def test_what_is_left_out_is_what_the_definition_says(lmplz, entries_of):
    whole = read_arpa(lmplz / "order3.arpa.gz")
    model = entries_of(whole)
    rises = {n: rise_by_definition(model, n, own_history(model, n[:-1])) for n in longest(model)}
    for share in (0.2, 0.5, 0.9):
        threshold = float(np.quantile(list(rises.values()), share))
        sure = {n: rise for n, rise in rises.items() if abs(rise / threshold - 1) > 1e-4}
        assert len(sure) > 0.98 * len(rises)
        kept = longest(entries_of(prune(whole, threshold)))
        assert {n for n in sure if n in kept} == {n for n in sure if rises[n] >= threshold}


def test_with_the_text_at_hand_contexts_weigh_as_often_as_they_occur(lmplz, entries_of):
    path = lmplz / "text.txt"
    counts: Counter[Ngram] = Counter()
    events = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        words = [BEGIN, *line.split(), END]
        events += len(words) - 1
        counts.update(pairwise(words))
    model = entries_of(estimate(read_sentences([path]), KneserNeyConfig(3)))
    rises = {n: rise_by_definition(model, n, counts[n[:-1]] / events) for n in longest(model)}
    threshold = float(np.median(list(rises.values())))
    pruned = estimate(read_sentences([path]), KneserNeyConfig(3, threshold=threshold))
    kept = longest(entries_of(pruned))
    for ngram, rise in rises.items():
        if abs(rise / threshold - 1) > 1e-4:
            assert (ngram in kept) == (rise >= threshold), ngram


TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "d", "é"]).map(str.encode), min_size=1, max_size=7),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=50)
@given(text=TEXTS, order=st.integers(1, 4), exponent=st.floats(-7, -0.5), counted=st.booleans())
def test_probabilities_still_sum_to_one(text, order, exponent, counted):
    threshold = 10.0**exponent
    config = {"order": order, "discount_fallback": FALLBACK}
    if counted:
        pruned = estimate(text, KneserNeyConfig(**config, threshold=threshold))
    else:
        pruned = prune(estimate(text, KneserNeyConfig(**config)), threshold)
    model = LanguageModel(pruned)
    words = [word for word in range(len(model.vocabulary)) if word != model.begin]
    for table in pruned.tables[:-1]:
        for context in table.words.tolist():
            if context[-1] in (model.end, model.unknown):
                continue  # nothing comes after them in a text
            state = 0
            for word in context:
                state = model.score(state, word)[1]
            total = sum(10 ** model.score(state, word)[0] for word in words)
            assert total == pytest.approx(1, abs=1e-5), context


def test_what_stays_keeps_its_probability_and_its_context(lmplz, entries_of):
    whole = read_arpa(lmplz / "order4.arpa.gz")
    before, after = entries_of(whole), entries_of(prune(whole, 1e-3))
    assert len(after) < len(before) / 2
    for ngram, (log_prob, _) in after.items():
        assert before[ngram][0] == log_prob
        assert len(ngram) == 1 or ngram[:-1] in after
    assert {n for n in before if len(n) == 1} == {n for n in after if len(n) == 1}


def test_the_higher_the_threshold_the_fewer_stay_and_the_higher_perplexity(lmplz, entries_of):
    whole = read_arpa(lmplz / "order3.arpa.gz")
    text = [line.split() for line in (lmplz / "text.txt").read_text("utf-8").splitlines()]

    def log_prob(ngrams: Ngrams) -> float:
        model = LanguageModel(ngrams)
        return float(sum(model.score_sentence(sentence).sum() for sentence in text))

    pruned = [prune(whole, threshold) for threshold in (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1.0)]
    sizes = [len(entries_of(ngrams)) for ngrams in pruned]
    scores = [log_prob(ngrams) for ngrams in pruned]
    assert sizes == sorted(sizes, reverse=True)
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(log_prob(whole), rel=1e-6)
    assert sizes[-1] == len(whole.vocabulary)  # of the longer ones nothing is worth doubling it


@pytest.mark.parametrize("threshold", [-1e-9, math.inf, math.nan])
def test_impossible_thresholds_are_refused(lmplz, threshold):
    with pytest.raises(ConfigError, match="pruning threshold"):
        prune(read_arpa(lmplz / "order2.arpa.gz"), threshold)
    with pytest.raises(ConfigError, match="pruning threshold"):
        KneserNeyConfig(threshold=threshold)


def test_what_is_as_good_as_impossible_stays_so(tmp_path):
    """10 to the -1000 is 0 in float64, and without its n-gram it would be 0.16."""
    path = tmp_path / "a.arpa"
    path.write_text(
        "\\data\\\nngram 1=4\nngram 2=2\n\n\\1-grams:\n-99 <s> -0.3\n-0.5 </s>\n-0.4 a -0.3\n"
        "-0.7 <unk>\n\n\\2-grams:\n-1000 <s> </s>\n-0.1 <s> a\n\n\\end\\\n"
    )
    pruned = prune(read_arpa(path), 1e-3)  # numpy's warnings are errors here
    assert len(pruned.tables[1].words) == 2
