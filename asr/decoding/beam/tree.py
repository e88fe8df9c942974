"""Sequences of tokens as one tree in flat arrays, which compiled code walks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROOT", "Tree", "build_tree", "depths", "follow", "highest_below"]

ROOT = 0


class Tree(NamedTuple):
    """M nodes by depth, the root first; children stand side by side, sorted by token.

    Attributes:
        tokens: ``(M,)`` int32, the last token; -1 at the root.
        children: ``(M + 1,)`` int32, the first child; those of node s end where those of s + 1
            begin.
    """

    tokens: NDArray[np.int32]
    children: NDArray[np.int32]


def build_tree(sequences: Sequence[tuple[int, ...]]) -> tuple[Tree, NDArray[np.int32]]:
    """The tree, and the node in which each sequence ends."""
    order = np.array(sorted(range(len(sequences)), key=sequences.__getitem__), dtype=np.int64)
    lengths = np.array([len(s) for s in sequences], dtype=np.int64)
    flat = np.array([k for sequence in sequences for k in sequence], dtype=np.int32)
    begins = np.cumsum(lengths) - lengths
    at = np.full(len(sequences), ROOT, dtype=np.int32)
    tokens, parents, count = [np.array([-1], dtype=np.int32)], [], 1
    for depth in range(int(lengths.max(initial=0))):
        rows = order[lengths[order] > depth]  # sorted, so that equal nodes come side by side
        above, last = at[rows], flat[begins[rows] + depth]
        fresh = np.ones(len(rows), dtype=bool)
        fresh[1:] = (above[1:] != above[:-1]) | (last[1:] != last[:-1])
        at[rows] = count + np.cumsum(fresh) - 1
        tokens.append(last[fresh])
        parents.append(above[fresh])
        count += int(fresh.sum())
    fan = np.bincount(np.concatenate([*parents, np.empty(0, np.int32)]), minlength=count)
    children = np.concatenate([[1], 1 + np.cumsum(fan)]).astype(np.int32)
    return Tree(np.concatenate(tokens), children), at


def depths(tree: Tree) -> NDArray[np.float64]:
    """How many tokens lead to each node, ``(M,)``."""
    depth = np.zeros(len(tree.tokens))
    begin, end = 0, 1
    while begin < end:
        depth[begin:end] = depth[begin - 1] + 1 if begin else 0
        begin, end = int(tree.children[begin]), int(tree.children[end])
    return depth


def follow(tree: Tree, sequence: Sequence[int]) -> list[int]:
    """The nodes on the way of a ``sequence`` that the tree has, without the root."""
    nodes, node = [], ROOT
    for token in sequence:
        begin, end = tree.children[node], tree.children[node + 1]
        node = int(begin + np.searchsorted(tree.tokens[begin:end], token))
        nodes.append(node)
    return nodes


def highest_below(tree: Tree, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The highest of ``values (M,)`` among each node and all below it, ``(M,)``."""
    highest = values.copy()
    levels = [(0, 1)]
    while levels[-1][0] < levels[-1][1]:
        begin, end = levels[-1]
        levels.append((int(tree.children[begin]), int(tree.children[end])))
    for begin, end in reversed(levels):
        nodes = begin + np.flatnonzero(np.diff(tree.children[begin : end + 1]))
        if len(nodes):
            first, after = tree.children[begin], tree.children[end]
            best = np.maximum.reduceat(highest[first:after], tree.children[nodes] - first)
            highest[nodes] = np.maximum(highest[nodes], best)
    return highest
