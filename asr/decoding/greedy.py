"""Best-path decoding: the most probable token of each frame (Graves et al. 2006, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from asr.decoding.config import DecoderConfig
from asr.decoding.inputs import checked
from asr.decoding.spans import hypothesis, path_spans
from asr.tokens import Tokenizer
from asr.types import Hypothesis

__all__ = ["GreedyDecoder"]


@dataclass(frozen=True)
class GreedyDecoder:
    """Takes the best token of every frame, merges repeats and drops blanks.

    The score is the log-probability of that one path, a lower bound of the labelling's.
    """

    config: DecoderConfig
    tokenizer: Tokenizer
    seconds_per_frame: float

    def decode(self, log_probs: Tensor, lengths: Tensor) -> list[list[Hypothesis]]:
        """Return one hypothesis for each utterance of ``log_probs (B, T, V)``.

        Raises:
            DecodingError: see :func:`asr.decoding.inputs.checked`.
        """
        results = []
        for frames in checked(log_probs, lengths, self.tokenizer.size):
            path = frames.argmax(axis=1) if len(frames) else []
            score = float(frames.max(axis=1).sum(dtype=np.float64)) if len(frames) else 0.0
            spans = path_spans([int(k) for k in path])
            results.append(
                [hypothesis(frames, spans, score, self.tokenizer, self.seconds_per_frame)]
            )
        return results
