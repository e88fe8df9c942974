"""Histories of whole words, each of which stands once however many prefixes have it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, inlined
from asr.decoding.beam.sharing import renumbered
from asr.decoding.beam.tables import HISTORY, NONE, Records
from asr.decoding.beam.word_places import mix

__all__ = ["compact_histories", "keep_chosen", "more_places", "start_histories", "start_places"]


def start_histories() -> Records:
    """The empty history, in the first row."""
    histories = np.zeros(256, dtype=HISTORY)
    histories["parent"] = histories["word"] = NONE
    return histories


def start_places() -> NDArray[np.int32]:
    """Places for histories, all free."""
    return np.full(1024, NONE, dtype=np.int32)


@inlined
def keep_chosen(
    next_beam: Records,
    chosen: NDArray[np.int32],
    beam: Records,
    histories: Records,
    places: NDArray[np.int32],
    rows: int,
    frame: int,
) -> int:
    """Put the ``chosen (K,)`` into the beam, new histories behind the others; returns how many."""
    for slot in range(len(chosen)):
        beam[slot] = next_beam[chosen[slot]]
        prefix = beam[slot]
        if prefix.row == NONE:
            prefix.row = _find_history(histories, places, rows, prefix.parent, prefix.word, frame)
            rows = max(rows, prefix.row + 1)
    return rows


@inlined
def _find_history(
    histories: Records,
    places: NDArray[np.int32],
    rows: int,
    parent: int,
    word: int,
    frame: int,
) -> int:
    """The row of ``parent`` with ``word``; a new one at the end if there is none."""
    at = _place_of_history(histories, places, parent, word)
    if places[at] == NONE:
        places[at] = rows
        new = histories[rows]
        new.parent, new.word, new.frame = parent, word, frame
    return int(places[at])


@inlined
def _place_of_history(histories: Records, places: NDArray[np.int32], parent: int, word: int) -> int:
    """Where in ``places`` that history is, or a free place for it."""
    mask = len(places) - 1
    at = mix(parent, word, 0) & mask
    while places[at] != NONE:
        held = histories[places[at]]
        if held.parent == parent and held.word == word:
            break
        at = (at + 1) & mask
    return at


@compiled
def more_places(histories: Records, rows: int, more: int) -> NDArray[np.int32]:
    """Places for twice as many histories as there are going to be, those there are in theirs."""
    size = 1024
    while size < 4 * (rows + more):
        size *= 2
    places = np.full(size, NONE, dtype=np.int32)
    for row in range(1, rows):
        held = histories[row]
        places[_place_of_history(histories, places, held.parent, held.word)] = row
    return places


@compiled
def compact_histories(
    beam: Records, size: int, histories: Records, marks: NDArray[np.int32], root: int
) -> tuple[Records, int, NDArray[np.int32]]:
    """The histories that prefixes of the beam begin with, their number and places; ``root`` is the
    new first row."""
    numbers = renumbered(beam, size, histories, marks, root)
    smaller = np.empty(256 + 2 * (numbers >= 0).sum(), dtype=HISTORY)
    rows = 0
    for row in range(root, len(histories)):
        if numbers[row] == NONE:
            continue
        smaller[rows] = histories[row]
        smaller[rows].parent = numbers[histories[row].parent] if rows > 0 else NONE
        rows += 1
    for slot in range(size):
        prefix = beam[slot]
        prefix.row = numbers[prefix.row]
        prefix.parent = numbers[prefix.parent] if prefix.parent >= 0 else NONE
    return smaller, rows, more_places(smaller, rows, 0)
