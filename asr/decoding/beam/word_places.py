"""Where prefixes over words are found among those of a frame: paths meet there.

Prefixes are one where parent, word and node of the lexicon are equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled, inlined
from asr.decoding.beam.tables import Records

__all__ = ["Table", "find_place", "larger_table", "mix", "take_place"]

Table = NDArray[
    np.int32
]  # (H, 2), H a power of 2: the frame in which a place was taken, and by whom


@inlined
def mix(a: int, b: int, c: int) -> int:
    """A number of many digits that three small ones rarely share with others."""
    mixed = a * 0x9E3779B1 + b * 0x85EBCA77 + c * 0xC2B2AE3D
    return mixed ^ (mixed >> 15)


@inlined
def find_place(
    table: Table, frame: int, prefixes: Records, parent: int, word: int, node: int
) -> int:
    """Where in the ``table`` that prefix is, or a free place for it."""
    mask = len(table) - 1
    at = mix(parent, word, node) & mask
    while table[at, 0] == frame:
        held = prefixes[table[at, 1]]
        if held.lexicon_node == node and held.parent == parent and held.word == word:
            break
        at = (at + 1) & mask
    return at


@inlined
def take_place(table: Table, frame: int, prefixes: Records, index: int) -> None:
    """Note in the ``table`` where a new prefix is."""
    new = prefixes[index]
    at = find_place(table, frame, prefixes, new.parent, new.word, new.lexicon_node)
    table[at, 0], table[at, 1] = frame, index


@compiled
def larger_table(prefixes: Records, count: int, need: int, frame: int) -> Table:
    """A table for that many, with those that there are."""
    size = 1024
    while size < 4 * (count + need):
        size *= 2
    table = np.zeros((size, 2), dtype=np.int32)
    for index in range(count):
        take_place(table, frame, prefixes, index)
    return table
