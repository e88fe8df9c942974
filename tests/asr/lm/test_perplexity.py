"""Perplexities equal those by hand and those of KenLM's ``query``."""

from __future__ import annotations

import math

import pytest

from asr.lm.model import LanguageModel
from asr.lm.perplexity import TextScore, score_sentence
from asr.lm.text import read_sentences


def test_by_hand(arpa, tmp_path):
    (tmp_path / "a.arpa").write_text(arpa)
    model = LanguageModel.load(tmp_path / "a.arpa")
    score = score_sentence(model, ["a", "b", "zoo"])
    # <s> a; <s> a b; zoo backs off from "a b" and "b"; </s> after it has no context
    log_prob = -0.3 - 0.2 + (-0.1 - 0.125 - 1.5) - 0.9
    assert score.log_prob == pytest.approx(log_prob)
    assert score.perplexity == pytest.approx(10 ** (-log_prob / 4))
    assert score.known_perplexity == pytest.approx(10 ** ((0.3 + 0.2 + 0.9) / 3))
    assert (score.sentences, score.words, score.unknown) == (1, 3, 1)
    assert score.unknown_rate == pytest.approx(1 / 3)


def test_equals_query_of_kenlm(lmplz):
    model = LanguageModel.load(lmplz / "order3.arpa.gz")
    total = TextScore()
    for units in read_sentences([lmplz / "heldout.txt"]):
        total += score_sentence(model, [unit.decode() for unit in units])
    said = dict(line.split(":\t") for line in (lmplz / "order3.query.txt").read_text().splitlines())
    assert total.perplexity == pytest.approx(float(said["Perplexity including OOVs"]), rel=1e-6)
    assert total.known_perplexity == pytest.approx(
        float(said["Perplexity excluding OOVs"]), rel=1e-6
    )
    assert total.unknown == int(said["OOVs"])
    assert total.words + total.sentences == int(said["Tokens"])


def test_nothing_has_perplexity_one_and_the_impossible_an_infinite_one():
    assert TextScore().perplexity == 1.0
    assert TextScore(sentences=1, log_prob=-400.0).perplexity == math.inf
