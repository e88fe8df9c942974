"""The best path beside what a beam found: a narrow beam may lose it, for what a language model
thinks of its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["best_path_alone", "with_best_path"]


class Scored(Protocol):
    """A result of a search."""

    @property
    def score(self) -> float:
        """What results are ranked by."""
        ...


Result = TypeVar("Result", bound=Scored)


def best_path_alone(frames: NDArray[np.floating]) -> NDArray[np.floating]:
    """``frames (T, V)`` with the best token of each alone: a search finds that path only."""
    best = (np.arange(len(frames)), frames.argmax(axis=1))
    alone = np.full_like(frames, -np.inf)
    alone[best] = frames[best]
    return alone


def with_best_path(
    found: Sequence[Result], path: Sequence[Result], key: Callable[[Result], Hashable]
) -> list[Result]:
    """``found``, best first, and what a search of the best path alone gave, in its place.

    Of two with the same ``key``, which differ in the paths that they count, the better one.
    """
    best: dict[Hashable, Result] = {}
    for each in [*found, *path]:
        name = key(each)
        if name not in best or each.score > best[name].score:
            best[name] = each
    return sorted(best.values(), key=lambda each: -each.score)
