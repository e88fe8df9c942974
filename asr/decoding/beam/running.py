"""A compiled search that goes on from piece to piece, and what is known of its labels meanwhile."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam.sharing import MARKS, branches, oldest_open, what_is_shared
from asr.decoding.beam.tables import Records, copied

__all__ = ["Labels", "RunningSearch", "begins_with", "common_beginning"]

Labels = tuple[int, ...]


class RunningSearch:
    """The state of a search for labels, which are tokens or words.

    Labels that are said for good are let go, but for the last of them, which the tree still has:
    so each prefix of the beam is in a row below the first.

    Args:
        beam, tree: as a search begins; they are copied.
        column: the tree's column of labels.
    """

    def __init__(self, beam: Records, tree: Records, column: str) -> None:
        self.beam, self.size = copied(beam), 1
        self.tree, self.rows = copied(tree), 1
        self.marks: NDArray[np.int32] = np.zeros(MARKS, dtype=np.int32)
        self.frame = 0  # how many were taken
        self.possible = True  # whether anything was, in all frames
        self._column = column
        self._said = 0  # labels of the tree that are said for good: 0 or 1

    def spell(self, row: int, *more: int) -> Labels:
        """The labels of that row and ``more``, without those that are said for good."""
        parents, labels = self.tree["parent"], self.tree[self._column]
        spelled = list(more[::-1])
        while row > 0:
            spelled.append(labels.item(row))
            row = parents.item(row)
        spelled.reverse()
        return tuple(spelled[self._said :])

    @property
    def best_slot(self) -> int:
        """Where in the beam the best prefix is."""
        return int(self.beam["rank"][: self.size].argmax())

    @property
    def best_rank(self) -> float:
        """The score of the best prefix."""
        return float(self.beam["rank"][self.best_slot])

    @property
    def best_row(self) -> int:
        """The row of the best prefix."""
        return int(self.beam["row"][self.best_slot])

    def shared(self) -> Labels:
        """What all prefixes begin with now."""
        return self.spell(what_is_shared(self.beam, self.size, self.tree, self.frame)[0])

    def settled(self) -> Labels:
        """What they began with some time ago: whatever disagrees with it is out of the race."""
        return self.spell(int(self.marks[-1]))

    def share_of(self, row: int, may_follow: NDArray[np.bool_] | None) -> float:
        """Of the probability of all prefixes, what those have that begin with ``row``, and go on
        with a label that ``may_follow`` (None: any)."""
        found = branches(self.beam, self.size, self.tree, row)
        agrees = found >= 0
        if may_follow is not None:
            labels = self.tree[self._column][np.maximum(found, row)]
            agrees &= (found == row) | may_follow[labels]
        return self.share(agrees)

    def share(self, chosen: NDArray[np.bool_]) -> float:
        """Of the probability of all prefixes, that of the ``chosen`` ones ``(K,)``."""
        ranks = self.beam["rank"][: self.size]
        weights = np.exp(ranks - ranks.max())
        return float(weights[chosen].sum() / weights.sum())

    def oldest_open(self, count: int) -> int:
        """The frame that was the first to say more than the best prefix's first ``count`` labels,
        which all prefixes share, in any of them."""
        return self._oldest_after(self._chain()[self._said + count])

    def oldest_unsettled(self) -> int:
        """The same of what all prefixes began with some time ago."""
        return self._oldest_after(max(int(self.marks[-1]), self._said))

    def restrict(self, beginning: Labels) -> bool:
        """Keep prefixes with this beginning; whether there are any."""
        rows = self.beam["row"][: self.size].tolist()
        kept = [i for i, row in enumerate(rows) if begins_with(self.spell(row), beginning)]
        self.beam[: len(kept)] = self.beam[kept]
        self.size = len(kept)
        return bool(kept)

    def forget(self, count: int) -> None:
        """Let go of ``count`` more labels, which are said for good, and of what was given up."""
        depth = self._said + count
        self._compact(self._chain()[depth - 1] if count else 0)
        self._said = min(1, depth)

    def first_said(self, count: int) -> int:
        """The frame in which the best prefix had its first ``count`` labels, one or more."""
        return int(self.tree["frame"][self._chain()[self._said + count]])

    def said_by(self, frame: int) -> int:
        """How many labels of the best prefix it had after that frame, and one more if it has."""
        frames = self.tree["frame"][self._chain()[self._said + 1 :]]
        return min(int(np.searchsorted(frames, frame, side="right")) + 1, len(frames))

    def _chain(self) -> list[int]:
        """The rows from the first to that of the best prefix."""
        row, parents = self.best_row, self.tree["parent"]
        chain = [row]
        while row > 0:
            row = parents.item(row)
            chain.append(row)
        return chain[::-1]

    def _oldest_after(self, row: int) -> int:
        """The frame that was the first to say more than ``row``."""
        return int(oldest_open(self.beam, self.size, self.tree, row, self.frame))

    def _compact(self, root: int) -> None:
        """Renumber what is needed of the tree; ``root`` becomes its first row."""
        raise NotImplementedError


def begins_with(labels: Labels, beginning: Labels) -> bool:
    """Whether they do."""
    return labels[: len(beginning)] == beginning


def common_beginning(a: Labels, b: Labels) -> Labels:
    """The longest that both have."""
    count = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        count += 1
    return a[:count]
