"""Sentences with errors as recognisers make them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

Sentence = list[str]


@pytest.fixture(scope="session")
def corrupted() -> Callable[..., tuple[list[Sentence], list[Sentence]]]:
    """Makes references and hypotheses of few different words, so that alignments are ambiguous."""

    def make(seed: int, count: int, rate: float) -> tuple[list[Sentence], list[Sentence]]:
        rng = np.random.default_rng(seed)
        words = ["a", "b", "c", "da", "eb"]
        references, hypotheses = [], []
        for _ in range(count):
            reference = [str(word) for word in rng.choice(words, size=rng.integers(0, 12))]
            hypothesis: Sentence = []
            for word in reference:
                chance = rng.random()
                if chance > rate:
                    hypothesis.append(word)
                elif chance > rate / 3:
                    hypothesis.append(str(rng.choice(words)))
            while rng.random() < rate:
                place = int(rng.integers(0, len(hypothesis) + 1))
                hypothesis.insert(place, str(rng.choice(words)))
            references.append(reference)
            hypotheses.append(hypothesis)
        return references, hypotheses

    return make
