"""CTC twice: by summing every path, and by forward-backward, in float64.

Both are written beside Graves, Fernández, Gomez & Schmidhuber (2006), so that each can be held
against the paper and the fast implementation against both. Logarithms stand in the place of the
paper's rescaling at each step; nothing is pruned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from asr.tokens import BLANK_ID

__all__ = ["Passes", "collapse", "enumerate_labellings", "enumerate_occupancy", "passes"]

Floats = NDArray[np.float64]
Labels = tuple[int, ...]


# Every path: (2) and (3), literally


def collapse(path: Sequence[int]) -> Labels:
    """The map B of section 3.1: merge repeats, then drop blanks."""
    return tuple(k for k, _ in groupby(path) if k != BLANK_ID)


def _paths(y: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Every path over ``y (T, V)``, ``(V ** T, T)``, and its probability, eq. 2."""
    T, V = y.shape
    paths = np.indices((V,) * T).reshape(T, -1).T
    return paths, y[np.arange(T), paths].prod(1)


def enumerate_labellings(y: Floats) -> dict[Labels, float]:
    """The probability of each labelling that ``y (T, V)`` can spell, eq. 3: V ** T paths."""
    total: dict[Labels, float] = {}
    paths, probabilities = _paths(y)
    for path, probability in zip(paths.tolist(), probabilities.tolist(), strict=True):
        labels = collapse(path)
        total[labels] = total.get(labels, 0.0) + probability
    return total


def enumerate_occupancy(y: Floats, labels: Labels) -> Floats:
    """Share ``(T, V)`` of the labelling's probability whose paths are at k at time t.

    Some path must spell ``labels``.
    """
    paths, probabilities = _paths(y)
    spells = np.array([collapse(path) == labels for path in paths.tolist()])
    at = np.zeros_like(y)
    for t in range(len(y)):
        np.add.at(at[t], paths[spells, t], probabilities[spells])
    return at / probabilities[spells].sum()


# Forward-backward: section 4.1


@dataclass(frozen=True)
class Passes:
    """Both passes over one utterance.

    Attributes:
        log_y: ``(T, V)``.
        states: l', the labels with a blank around each, ``(2 S + 1,)``.
        alpha: logarithms of eqs. 5 to 7, ``(T, 2 S + 1)``.
        beta: logarithms of eqs. 9 to 11, ``(T, 2 S + 1)``.
    """

    log_y: Floats
    states: NDArray[np.int64]
    alpha: Floats
    beta: Floats

    @property
    def log_probability(self) -> float:
        """ln p(l | x), eq. 8; -inf where no path spells the labels."""
        return float(np.logaddexp.reduce(self.alpha[-1, -2:]))

    def log_probability_at(self, t: int) -> float:
        """ln p(l | x) from the frame t alone, eq. 14: the same for every t."""
        joint = self.alpha[t] + self.beta[t] - self.log_y[t, self.states]
        return float(np.logaddexp.reduce(joint))

    @property
    def occupancy(self) -> Floats:
        """Share ``(T, V)`` of p(l | x) whose paths are at k at time t.

        The sum of eq. 15 over lab(l, k), times y and over p(l | x). There must be a path.
        """
        # alpha and beta both count the frame t, hence the division by y
        joint = self.alpha + self.beta - self.log_y[:, self.states] - self.log_probability
        occupancy = np.zeros_like(self.log_y)
        for s, k in enumerate(self.states):
            occupancy[:, k] += np.exp(joint[:, s])
        return occupancy

    @property
    def error_signal(self) -> Floats:
        """d(-ln p(l | x)) / du ``(T, V)`` by the unnormalised outputs u, eq. 16."""
        return np.exp(self.log_y) - self.occupancy


def passes(log_y: Floats, labels: Sequence[int]) -> Passes:
    """Run both passes of ``labels (S,)`` over ``log_y (T, V)``, T at least 1."""
    states = np.full(2 * len(labels) + 1, BLANK_ID)
    states[1::2] = labels
    may_skip = np.zeros(len(states), bool)  # eq. 6: l'_s is a label and not the one before
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    emitted = log_y[:, states]
    # beta is alpha with time and labels reversed; a skip ends where it began
    back = np.zeros(len(states), bool)
    back[:-2] = may_skip[2:]
    beta = _forward(emitted[::-1, ::-1], back[::-1])[::-1, ::-1]
    return Passes(log_y, states, _forward(emitted, may_skip), beta)


def _forward(emitted: Floats, may_skip: NDArray[np.bool_]) -> Floats:
    """Eqs. 5 to 7 over ``emitted (T, 2 S + 1)``, ln y of each state."""
    alpha = np.full(emitted.shape, -np.inf)
    alpha[0, :2] = emitted[0, :2]
    for t in range(1, len(emitted)):
        stay = alpha[t - 1]
        step = np.concatenate([[-np.inf], stay[:-1]])
        skip = np.where(may_skip, np.concatenate([[-np.inf, -np.inf], stay])[: len(stay)], -np.inf)
        alpha[t] = np.logaddexp(np.logaddexp(stay, step), skip) + emitted[t]
    return alpha
