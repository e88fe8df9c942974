"""Prefix beam search in plain Python: what compiled code is measured against, and tested by.

Hannun et al., "First-pass large vocabulary continuous speech recognition using bi-directional
recurrent DNNs" (2014), algorithm 1, without a language model. Unlike best-path decoding it adds up
all paths that spell the same prefix.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from asr.tokens import BLANK_ID

__all__ = ["prefix_beam_search"]

NEVER = float("-inf")

Labels = tuple[int, ...]
Prefix = tuple[int, int]  # number of the prefix without its last token, and that token
Scores = tuple[float, float]  # log-probability of paths that end in a blank, and in a token
ROOT: Prefix = (-1, BLANK_ID)


class _Prefixes:
    """Numbers for prefixes, so that a long one costs no more to extend than a short one."""

    def __init__(self) -> None:
        self._numbers: dict[Prefix, int] = {}
        self._prefixes: list[Prefix] = []

    def number(self, prefix: Prefix) -> int:
        if prefix not in self._numbers:
            self._numbers[prefix] = len(self._prefixes)
            self._prefixes.append(prefix)
        return self._numbers[prefix]

    def spell(self, prefix: Prefix) -> Labels:
        tokens = []
        while prefix != ROOT:
            tokens.append(prefix[1])
            prefix = self._prefixes[prefix[0]]
        return tuple(reversed(tokens))


def prefix_beam_search(
    log_probs: NDArray[np.float32],
    beam_width: int,
    token_min_log_prob: float,
) -> list[tuple[Labels, float]]:
    """Return the best labellings of ``log_probs (T, V)`` with their scores, best first."""
    prefixes = _Prefixes()
    beam: dict[Prefix, Scores] = {ROOT: (0.0, NEVER)}
    for frame in log_probs:
        tokens = _likely_tokens(frame, token_min_log_prob)
        beam = _best(_extend(beam, prefixes, float(frame[BLANK_ID]), tokens), beam_width)
    ranked = [(prefixes.spell(prefix), _add_logs(*scores)) for prefix, scores in beam.items()]
    return sorted(ranked, key=lambda item: (-item[1], item[0]))


def _likely_tokens(frame: NDArray[np.float32], least: float) -> list[tuple[int, float]]:
    likely = frame >= least
    likely[int(frame.argmax())] = True
    likely[BLANK_ID] = False
    return [(int(k), float(frame[k])) for k in np.flatnonzero(likely)]


def _extend(
    beam: dict[Prefix, Scores],
    prefixes: _Prefixes,
    blank: float,
    tokens: Iterable[tuple[int, float]],
) -> dict[Prefix, Scores]:
    """All prefixes one frame later.

    A repeated token merges into the prefix unless a blank stands between.
    """
    later: dict[Prefix, Scores] = {}
    for prefix, (in_blank, in_token) in beam.items():
        whole = _add_logs(in_blank, in_token)
        _gain(later, prefix, whole + blank, NEVER)
        number, last = prefixes.number(prefix), prefix[1]
        for k, log_prob in tokens:
            if k == last:
                _gain(later, prefix, NEVER, in_token + log_prob)
                _gain(later, (number, k), NEVER, in_blank + log_prob)
            else:
                _gain(later, (number, k), NEVER, whole + log_prob)
    return later


def _gain(beam: dict[Prefix, Scores], prefix: Prefix, in_blank: float, in_token: float) -> None:
    old_blank, old_token = beam.get(prefix, (NEVER, NEVER))
    beam[prefix] = (_add_logs(old_blank, in_blank), _add_logs(old_token, in_token))


def _best(beam: dict[Prefix, Scores], count: int) -> dict[Prefix, Scores]:
    possible = {p: s for p, s in beam.items() if max(s) > NEVER}
    if len(possible) <= count:
        return possible
    ranked = sorted(possible.items(), key=lambda item: (-_add_logs(*item[1]), item[0]))
    return dict(ranked[:count])


def _add_logs(a: float, b: float) -> float:
    """Logarithm of the sum of two numbers given as logarithms."""
    if a < b:
        a, b = b, a
    return a if b == NEVER else a + math.log1p(math.exp(b - a))
