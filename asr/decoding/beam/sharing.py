"""What all prefixes of a beam share, compiled: a search that goes on for hours lets go of it.

Rows are those of a tree that knows each row's parent, which has a lower number: of the prefix tree
(NODE), or of the histories of words (HISTORY).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, inlined
from asr.decoding.beam.tables import NONE, Records

__all__ = [
    "CHECK",
    "MARKS",
    "MAX_OPEN",
    "branches",
    "keep_branch",
    "note_shared",
    "oldest_open",
    "renumbered",
    "what_is_shared",
]

CHECK = 32  # frames from one look at what is shared to the next
MARKS = 3  # looks that are remembered: what was shared at the last of them is settled
MAX_OPEN = 1024  # frames: the best prefix decides what was said before these


@compiled
def what_is_shared(beam: Records, size: int, tree: Records, frame: int) -> tuple[int, int]:
    """The row of the longest beginning that all prefixes of the beam share, and the first frame in
    which one of them said more; ``frame`` if none did.

    From the highest row on each is exchanged for its parent, until there is one: so a row is looked
    at once, however many prefixes begin with it.
    """
    rows = np.empty(size, dtype=np.int32)
    since = np.empty(size, dtype=np.int64)  # when something was said after each
    count = 0
    for slot in range(size):
        count = _meet(rows, since, count, beam[slot].row, frame)
    while count > 1:
        top = 0
        for place in range(1, count):
            if rows[place] > rows[top]:
                top = place
        parent, said = tree[rows[top]].parent, tree[rows[top]].frame
        count -= 1
        rows[top], since[top] = rows[count], since[count]
        count = _meet(rows, since, count, parent, said)
    return int(rows[0]), int(since[0])


@inlined
def _meet(
    rows: NDArray[np.int32], since: NDArray[np.int64], count: int, row: int, said: int
) -> int:
    """Note after which of ``count`` rows something was ``said``, one more if it is none of them;
    returns how many there are."""
    place = 0
    while place < count and rows[place] != row:
        place += 1
    if place == count:
        rows[place], since[place] = row, said
        return count + 1
    since[place] = min(since[place], said)
    return count


@inlined
def _branch(tree: Records, row: int, common: int) -> int:
    """The child of ``common`` that ``row`` begins with; ``common`` if it is that."""
    while row != common and tree[row].parent != common:
        row = tree[row].parent
    return row


@compiled
def oldest_open(beam: Records, size: int, tree: Records, common: int, frame: int) -> int:
    """The first frame in which a prefix said more than ``common``; ``frame`` if none did."""
    oldest = frame
    for slot in range(size):
        branch = _branch(tree, beam[slot].row, common)
        if branch != common:
            oldest = min(oldest, tree[branch].frame)
    return oldest


@compiled
def keep_branch(beam: Records, size: int, tree: Records, common: int) -> int:
    """Keep prefixes that go on from ``common`` as the best does; returns how many."""
    best = 0
    for slot in range(1, size):
        if beam[slot].rank > beam[best].rank:
            best = slot
    branch = _branch(tree, beam[best].row, common)
    count = 0
    for slot in range(size):
        if _branch(tree, beam[slot].row, common) == branch:
            beam[count] = beam[slot]
            count += 1
    return count


@inlined
def note_shared(marks: NDArray[np.int32], common: int) -> None:
    """Note in ``marks (MARKS,)``, newest first, what is shared now."""
    for place in range(len(marks) - 1, 0, -1):
        marks[place] = marks[place - 1]
    marks[0] = common


@compiled
def renumbered(
    beam: Records, size: int, tree: Records, marks: NDArray[np.int32], root: int
) -> NDArray[np.int32]:
    """New numbers by row of what the beam still needs of the ``tree``, NONE of all else.

    ``root``, which all prefixes begin with, becomes row 0; the sequence stays. Changes the numbers
    in ``marks``, those before the root to 0.
    """
    numbers = np.full(len(tree), NONE, dtype=np.int32)
    numbers[root] = 0
    for slot in range(size):
        row = beam[slot].row
        while numbers[row] == NONE:
            numbers[row] = 0
            row = tree[row].parent
    count = 0
    for row in range(root, len(tree)):
        if numbers[row] == 0:
            numbers[row] = count
            count += 1
    for place in range(len(marks)):
        marks[place] = max(0, numbers[marks[place]])
    return numbers


@compiled
def branches(beam: Records, size: int, tree: Records, row: int) -> NDArray[np.int32]:
    """Of each prefix, the child of ``row`` that it begins with: ``row`` if it is that, NONE if it
    does not begin with it."""
    found = np.empty(size, dtype=np.int32)
    for slot in range(size):
        at = beam[slot].row
        while at > row and tree[at].parent != row:
            at = tree[at].parent
        found[slot] = at if at >= row else NONE
    return found
