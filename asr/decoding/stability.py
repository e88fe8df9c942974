"""How probable it is that the words of a partial stay as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["STABILITY", "Stability"]

EDGE = 1e-6  # shares of 0 and 1 have no finite log-odds
IN_WORD = 0.8  # of tokens just said, those after which the word goes on
PAUSE = 0.1  # seconds of quiet that take this share down to 1/e of it


@dataclass(frozen=True)
class Stability:
    """The probability that the unstable words stay, from what the search knows.

    Two things may change them: another hypothesis becomes the best, or the last word goes on. The
    first happens the less the more of the beam's probability is with the words; the second the less
    the longer nothing is said after them. The log-odds of both together are calibrated as
    ``slope * log-odds + offset`` (Platt 1999).
    """

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, share: float, quiet: float) -> float:
        """In [0, 1].

        Args:
            share: of the hypotheses' probability, what those have that begin with the words.
            quiet: seconds since the last token; infinite where the last word has ended.
        """
        p = share * (1.0 - IN_WORD * math.exp(-quiet / PAUSE))
        p = min(max(p, EDGE), 1.0 - EDGE)
        log_odds = self.slope * (math.log(p) - math.log1p(-p)) + self.offset
        return 1.0 / (1.0 + math.exp(-log_odds))


# Fitted to partials of greedy and beam search, with and without a language model, in pieces of 8
# and 16 frames of 30 ms, on 64 of AN4's development utterances (3591 partials). Fitted on half of
# the partials of each kind, it takes the calibration error of the others from 0.15 to 0.06.
STABILITY = Stability(slope=0.51, offset=0.92)
