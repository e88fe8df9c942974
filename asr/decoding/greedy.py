"""Best-path decoding: the most probable token of each frame (Graves et al. 2006, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.decoding.config import GreedyOptions
from asr.decoding.inputs import check_possible, fitting_lengths
from asr.decoding.spans import path_spans, spelled, squeeze
from asr.decoding.stopping import Stop
from asr.tokens import Tokenizer
from asr.types import Hypothesis

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GreedyDecoder"]


@dataclass(frozen=True)
class GreedyDecoder:
    """Takes the best token of every frame, merges repeats and drops blanks.

    The score is the log-probability of that one path, a lower bound of the labelling's.
    """

    options: GreedyOptions
    tokenizer: Tokenizer
    seconds_per_frame: float

    def decode(
        self, log_probs: Tensor, lengths: Tensor, stop: Stop | None = None
    ) -> list[list[Hypothesis]]:
        """Return one hypothesis for each utterance of ``log_probs (B, T, V)``.

        The maxima are taken where the log-probabilities are, on a GPU perhaps; only they are
        copied.

        Raises:
            DecodingError: see :func:`asr.decoding.inputs.checked`.
            StoppedError: asked for by ``stop``.
        """
        counts = fitting_lengths(log_probs, lengths, self.tokenizer.size)
        best, path = log_probs.detach().max(dim=2)  # (B, T) both; of equals, the first
        scores, ids = best.float().cpu().numpy(), path.cpu().numpy()
        results = []
        for b, count in enumerate(counts):
            if stop is not None:
                stop.check()
            check_possible(scores[b, :count], b)
            results.append([self._hypothesis(scores[b, :count], ids[b, :count])])
        return results

    def _hypothesis(self, best: NDArray[np.float32], path: NDArray[np.int64]) -> Hypothesis:
        spans = squeeze(path_spans(path), self.tokenizer.word_separator)
        # Of pieces from each edge to the next, every other one is a gap between spans.
        edges = np.array([edge for _, start, end in spans for edge in (start, end)], dtype=np.int64)
        peaks = np.maximum.reduceat(np.append(best, -np.inf), edges)[::2]
        return spelled(
            spans,
            peaks.tolist(),
            float(best.mean()) if len(best) else 0.0,  # asked for where all are blanks
            float(best.sum(dtype=np.float64)),
            self.tokenizer,
            self.seconds_per_frame,
        )
