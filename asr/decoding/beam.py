"""Prefix beam search: labellings scored by the sum over their paths.

Hannun et al., "First-pass large vocabulary continuous speech recognition using bi-directional
recurrent DNNs" (2014), algorithm 1, without a language model. Unlike best-path decoding it adds up
all paths that spell the same prefix.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asr.decoding.config import DecoderConfig
from asr.decoding.inputs import checked
from asr.decoding.spans import best_alignment, hypothesis
from asr.decoding.stopping import Stop
from asr.tokens import BLANK_ID, Tokenizer
from asr.types import Hypothesis

__all__ = ["BeamDecoder", "add_logs", "prefix_beam_search"]

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


@dataclass(frozen=True)
class BeamDecoder:
    """Keeps the ``beam_width`` most probable prefixes after each frame.

    The score is the log-probability of the labelling, summed over the paths that survived.
    """

    config: DecoderConfig
    tokenizer: Tokenizer
    seconds_per_frame: float

    def decode(
        self, log_probs: Tensor, lengths: Tensor, stop: Stop | None = None
    ) -> list[list[Hypothesis]]:
        """Return up to ``alternatives`` hypotheses for each utterance of ``(B, T, V)``, best first.

        Raises:
            DecodingError: see :func:`asr.decoding.inputs.checked`.
            StoppedError: asked for by ``stop``.
        """
        return [
            self._decode_one(frames, stop or Stop())
            for frames in checked(log_probs, lengths, self.tokenizer.size)
        ]

    def _decode_one(self, frames: NDArray[np.float32], stop: Stop) -> list[Hypothesis]:
        config = self.config
        found = prefix_beam_search(frames, config.beam_width, config.token_min_log_prob, stop)
        return [
            hypothesis(
                frames,
                best_alignment(frames, labels),
                score,
                self.tokenizer,
                self.seconds_per_frame,
            )
            for labels, score in found[: config.alternatives]
        ]


def prefix_beam_search(
    log_probs: NDArray[np.float32],
    beam_width: int,
    token_min_log_prob: float,
    stop: Stop | None = None,
) -> list[tuple[Labels, float]]:
    """Return the best labellings of ``log_probs (T, V)`` with their scores, best first."""
    prefixes = _Prefixes()
    beam: dict[Prefix, Scores] = {ROOT: (0.0, NEVER)}
    stop = stop or Stop()
    for frame in log_probs:
        stop.check()
        tokens = _likely_tokens(frame, token_min_log_prob)
        beam = _best(_extend(beam, prefixes, float(frame[BLANK_ID]), tokens), beam_width)
    ranked = [(prefixes.spell(prefix), add_logs(*scores)) for prefix, scores in beam.items()]
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
        whole = add_logs(in_blank, in_token)
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
    beam[prefix] = (add_logs(old_blank, in_blank), add_logs(old_token, in_token))


def _best(beam: dict[Prefix, Scores], count: int) -> dict[Prefix, Scores]:
    possible = {p: s for p, s in beam.items() if max(s) > NEVER}
    if len(possible) <= count:
        return possible
    ranked = sorted(possible.items(), key=lambda item: (-add_logs(*item[1]), item[0]))
    return dict(ranked[:count])


def add_logs(a: float, b: float) -> float:
    """Logarithm of the sum of two numbers given as logarithms."""
    if a < b:
        a, b = b, a
    return a if b == NEVER else a + math.log1p(math.exp(b - a))
