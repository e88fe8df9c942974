"""A small ARPA file to break, and a dictionary that says what any backoff model has to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from asr.lm.ngrams import BEGIN, END, UNKNOWN, Ngrams

Ngram = tuple[str, ...]
Values = tuple[float, float]  # log10 of probability and backoff

ARPA = """\
\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.4
-0.9\t</s>
-0.7\ta\t-0.25
-0.8\tb\t-0.125

\\2-grams:
-0.3\t<s> a\t-0.2
-0.5\ta b\t-0.1
-0.6\tb a\t0
-0.4\tb </s>

\\3-grams:
-0.2\t<s> a b
-0.35\ta b </s>

\\end\\
"""


def entries(ngrams: Ngrams) -> dict[Ngram, Values]:
    return {
        tuple(ngrams.vocabulary[word] for word in words): (p, b)
        for table in ngrams.tables
        for words, p, b in zip(
            table.words.tolist(),
            table.log_probs.tolist(),
            table.backoffs.tolist(),
            strict=True,
        )
    }


def backed_off(model: Mapping[Ngram, Values], words: Sequence[str]) -> list[float]:
    """log10 probabilities of the words of a sentence and its end, by Katz's definition."""
    history: Ngram = (BEGIN,)
    scores = []
    for word in [*(w if (w,) in model else UNKNOWN for w in words), END]:
        context, total = history, 0.0
        while (*context, word) not in model:
            total += model.get(context, (0.0, 0.0))[1]
            context = context[1:]
        scores.append(total + model[(*context, word)][0])
        history = (*history, word)
    return scores


@pytest.fixture(scope="session")
def arpa() -> str:
    return ARPA


@pytest.fixture(scope="session")
def entries_of() -> Callable[[Ngrams], dict[Ngram, Values]]:
    return entries


@pytest.fixture(scope="session")
def oracle() -> Callable[[Mapping[Ngram, Values], Sequence[str]], list[float]]:
    return backed_off


@pytest.fixture(scope="session")
def lmplz() -> Path:
    """What KenLM made of texts of ours; see the README there."""
    return Path(__file__).parent / "lmplz"
