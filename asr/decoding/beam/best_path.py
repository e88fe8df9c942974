"""The best path beside what a beam found: a narrow beam may lose it, for what a language model
thinks of its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scored", "best_path_alone", "with_best_path"]


@dataclass(frozen=True)
class Scored:
    """A result of a search: tokens or words by number, and the parts of their score, natural
    logarithms, the language model's already weighted.
    """

    labels: tuple[int, ...]
    acoustic: float
    lm: float
    bonus: float

    @property
    def score(self) -> float:
        """What results are ranked by."""
        return self.acoustic + self.lm + self.bonus


def best_path_alone(frames: NDArray[np.floating]) -> NDArray[np.floating]:
    """``frames (T, V)`` with the best token of each alone: a search finds that path only."""
    best = (np.arange(len(frames)), frames.argmax(axis=1))
    alone = np.full_like(frames, -np.inf)
    alone[best] = frames[best]
    return alone


def with_best_path(found: Sequence[Scored], path: Sequence[Scored]) -> list[Scored]:
    """``found``, best first, and what a search of the best path alone gave, in its place.

    Of two with the same labels, which differ in the paths that they count, the better one.
    """
    best: dict[tuple[int, ...], Scored] = {}
    for each in [*found, *path]:
        if each.labels not in best or each.score > best[each.labels].score:
            best[each.labels] = each
    return sorted(best.values(), key=lambda each: -each.score)
