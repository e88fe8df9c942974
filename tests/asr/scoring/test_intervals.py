"""Intervals of error rates by the bootstrap."""

from __future__ import annotations

import numpy as np

from asr.scoring import ErrorCounts, bootstrap_interval


def test_a_bootstrap_interval_covers_the_true_rate_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth, hits = 0.2, 0
    for trial in range(200):
        errors = rng.binomial(20, truth, size=60)
        counts = [ErrorCounts(substitutions=int(e), reference_length=20) for e in errors]
        low, high = bootstrap_interval(counts, draws=300, seed=trial)
        hits += low <= truth <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_errors_that_go_by_speaker_widen_the_interval():
    counts = [ErrorCounts(substitutions=e, reference_length=10) for e in [0] * 30 + [6] * 30]
    speakers = [str(i // 10) for i in range(60)]
    by_utterance, by_speaker = bootstrap_interval(counts), bootstrap_interval(counts, speakers)
    assert by_speaker[1] - by_speaker[0] > 1.5 * (by_utterance[1] - by_utterance[0])


def test_an_interval_is_repeatable_and_holds_the_rate():
    counts = [ErrorCounts(e % 3, 0, 0, 7) for e in range(40)]
    low, high = bootstrap_interval(counts)
    assert (low, high) == bootstrap_interval(counts)
    assert low < sum(counts, ErrorCounts()).rate < high
    assert bootstrap_interval([]) == (0.0, 0.0)
