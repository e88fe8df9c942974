"""How probable it is that the words of a partial stay as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["BEAM", "GREEDY", "LANGUAGE", "WORDS", "Stability"]

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


# Each kind of search has its own: the share of the beam tells less where a language model takes a
# part in it. Figures, and how they were made, are in docs/streaming.md.
GREEDY = Stability(slope=0.3, offset=0.75)
BEAM = Stability(slope=0.48, offset=1.66)  # without a language model and without a lexicon
LANGUAGE = Stability(slope=0.61, offset=0.96)  # with one of them, over the tokens of texts
WORDS = Stability(slope=0.67, offset=2.38)  # over words that a lexicon says
