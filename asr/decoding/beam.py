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
from asr.tokens import Tokenizer
from asr.types import Hypothesis

__all__ = ["BeamDecoder", "prefix_beam_search"]

BLANK = 0
NEVER = float("-inf")

Prefix = tuple[int, ...]
Scores = tuple[float, float]  # log-probability of paths that end in a blank, and in a token


@dataclass(frozen=True)
class BeamDecoder:
    """Keeps the ``beam_width`` most probable prefixes after each frame.

    The score is the log-probability of the labelling, summed over the paths that survived.
    """

    config: DecoderConfig
    tokenizer: Tokenizer
    seconds_per_frame: float

    def decode(self, log_probs: Tensor, lengths: Tensor) -> list[list[Hypothesis]]:
        """Return up to ``alternatives`` hypotheses for each utterance of ``(B, T, V)``, best first.

        Raises:
            DecodingError: shapes do not fit, or values are NaN.
        """
        return [
            self._decode_one(frames) for frames in checked(log_probs, lengths, self.tokenizer.size)
        ]

    def _decode_one(self, frames: NDArray[np.float32]) -> list[Hypothesis]:
        config = self.config
        found = prefix_beam_search(frames, config.beam_width, config.token_min_log_prob)
        return [
            hypothesis(
                frames,
                best_alignment(frames, prefix),
                score,
                self.tokenizer,
                self.seconds_per_frame,
            )
            for prefix, score in found[: config.alternatives]
        ]


def prefix_beam_search(
    log_probs: NDArray[np.float32], beam_width: int, token_min_log_prob: float
) -> list[tuple[Prefix, float]]:
    """Return the best labellings of ``log_probs (T, V)`` with their scores, best first."""
    beam: dict[Prefix, Scores] = {(): (0.0, NEVER)}
    for frame in log_probs:
        tokens = _likely_tokens(frame, token_min_log_prob)
        beam = _best(_extend(beam, float(frame[BLANK]), tokens), beam_width)
    ranked = [(prefix, _add(*scores)) for prefix, scores in beam.items()]
    return sorted(ranked, key=lambda item: (-item[1], item[0]))


def _likely_tokens(frame: NDArray[np.float32], least: float) -> list[tuple[int, float]]:
    likely = frame >= least
    likely[int(frame.argmax())] = True
    likely[BLANK] = False
    return [(int(k), float(frame[k])) for k in np.flatnonzero(likely)]


def _extend(
    beam: dict[Prefix, Scores], blank: float, tokens: Iterable[tuple[int, float]]
) -> dict[Prefix, Scores]:
    """All prefixes one frame later.

    A repeated token merges into the prefix unless a blank stands between.
    """
    later: dict[Prefix, Scores] = {}
    for prefix, (in_blank, in_token) in beam.items():
        whole = _add(in_blank, in_token)
        _gain(later, prefix, whole + blank, NEVER)
        last = prefix[-1] if prefix else BLANK
        for k, log_prob in tokens:
            if k == last:
                _gain(later, prefix, NEVER, in_token + log_prob)
                _gain(later, (*prefix, k), NEVER, in_blank + log_prob)
            else:
                _gain(later, (*prefix, k), NEVER, whole + log_prob)
    return later


def _gain(beam: dict[Prefix, Scores], prefix: Prefix, in_blank: float, in_token: float) -> None:
    old_blank, old_token = beam.get(prefix, (NEVER, NEVER))
    beam[prefix] = (_add(old_blank, in_blank), _add(old_token, in_token))


def _best(beam: dict[Prefix, Scores], count: int) -> dict[Prefix, Scores]:
    possible = {p: s for p, s in beam.items() if max(s) > NEVER}
    if len(possible) <= count:
        return possible
    ranked = sorted(possible.items(), key=lambda item: (-_add(*item[1]), item[0]))
    return dict(ranked[:count])


def _add(a: float, b: float) -> float:
    """Logarithm of the sum of two numbers given as logarithms."""
    if a < b:
        a, b = b, a
    return a if b == NEVER else a + math.log1p(math.exp(b - a))
