"""Small log-probabilities, and what enumerating every path says of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

Labels = tuple[int, ...]


def collapse(path: Sequence[int]) -> Labels:
    """Merge repeats, then drop blanks (Graves et al. 2006, section 3.1)."""
    return tuple(k for k, _ in itertools.groupby(path) if k)


def random_log_probs(seed: int, frames: int, vocab: int, sharpness: float = 3.0) -> Tensor:
    """``(T, V)``; sharper ones are nearer to zero and one."""
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(frames, vocab, generator=generator)).log_softmax(-1)


def enumerate_paths(log_probs: NDArray[np.float32]) -> tuple[dict[Labels, float], dict]:
    """Of each labelling: the log-sum over its paths, and its best path with its score."""
    T, V = log_probs.shape
    total: dict[Labels, float] = {}
    best: dict[Labels, tuple[float, Labels]] = {}
    for path in itertools.product(range(V), repeat=T):
        score = float(sum(float(log_probs[t, k]) for t, k in enumerate(path)))
        labels = collapse(path)
        total[labels] = float(np.logaddexp(total.get(labels, -np.inf), score))
        best[labels] = max(best.get(labels, (-np.inf, ())), (score, path))
    return total, best


def squeeze(labels: Labels, separator: int | None) -> Labels:
    """Without separators at the ends and after others."""
    words = itertools.groupby(labels, key=lambda k: k == separator)
    kept = [(separator,) if is_separator else tuple(group) for is_separator, group in words]
    kept = kept[kept[:1] == [(separator,)] : len(kept) - (kept[-1:] == [(separator,)])]
    return tuple(k for group in kept for k in group)


def enumerate_texts(log_probs: NDArray[np.float32], separator: int | None) -> dict[Labels, float]:
    """Of each text: the log-sum over the paths of all labellings that differ only in separators."""
    total: dict[Labels, float] = {}
    for labels, score in enumerate_paths(log_probs)[0].items():
        text = squeeze(labels, separator)
        total[text] = float(np.logaddexp(total.get(text, -np.inf), score))
    return total


@pytest.fixture(scope="session")
def log_probs_of() -> Callable[..., Tensor]:
    return random_log_probs


@pytest.fixture(scope="session")
def every_path() -> Callable[..., tuple[dict[Labels, float], dict]]:
    return enumerate_paths


@pytest.fixture(scope="session")
def every_text() -> Callable[..., dict[Labels, float]]:
    return enumerate_texts


@pytest.fixture(scope="session")
def squeezed() -> Callable[..., Labels]:
    return squeeze


@pytest.fixture(scope="session")
def collapsed() -> Callable[[Sequence[int]], Labels]:
    return collapse
