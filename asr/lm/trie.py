"""A backoff model as one tree in flat arrays, which compiled code walks.

A node is an n-gram: its parent is the n-gram without the last word, its link leads to the longest
end of it that the model has as a context. This is an Aho-Corasick automaton (1975) over words, and
the minimised state of KenLM (Heafield 2011, section 4.1): two histories that no later word can tell
apart are one state.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled

__all__ = ["ROOT", "Trie", "find_parents", "link_nodes", "order_bounds", "score_ids", "step"]

ROOT = 0  # the state that remembers nothing


class Trie(NamedTuple):
    """Nodes by order: the root, then all words in sequence, then longer n-grams, each order sorted
    by parent and word, so that children stand side by side.

    Node 1 + w is the word w. M nodes in all, of which the first C are not of the highest order;
    these alone have children and backoffs. 12 bytes a node, 20 where there are children.

    Attributes:
        words: ``(M,)`` int32, the last word; -1 at the root.
        log_probs: ``(M,)`` float32, log10 of the last word's probability after the others.
        links: ``(M,)`` int32, the state to go to from here: after backing off, or, where this node
            is no state of its own, at once.
        backoffs: ``(C,)`` float32, log10.
        children: ``(C + 1,)`` int32, the first child; those of node s end where those of s + 1
            begin.
    """

    words: NDArray[np.int32]
    log_probs: NDArray[np.float32]
    links: NDArray[np.int32]
    backoffs: NDArray[np.float32]
    children: NDArray[np.int32]


def order_bounds(trie: Trie, order: int) -> list[int]:
    """Where the nodes of each order begin, from the root's, 0, on, and the end of the last."""
    bounds = [ROOT, 1]
    for _ in range(order):
        bounds.append(int(trie.children[bounds[-1]]))
    return bounds


@compiled
def step(trie: Trie, state: int, word: int) -> tuple[float, int]:
    """log10 of the probability of ``word`` in ``state``, and the state after it.

    ``word`` has to be a position in the vocabulary; nothing is checked.
    """
    # Back off until a context has the word: each time the oldest word is forgotten and the backoff
    # of its context is paid (Katz 1987). The root has all words, so this ends.
    total = 0.0
    node = _find_child(trie, state, word)
    while node < 0:
        total += trie.backoffs[state]
        state = trie.links[state]
        node = _find_child(trie, state, word)
    return total + trie.log_probs[node], _find_state(trie, node)


@compiled
def score_ids(trie: Trie, state: int, ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """log10 probabilities of ``ids (S,)`` one after another from ``state``, ``(S,)``."""
    scores = np.empty(len(ids), dtype=np.float64)
    for position in range(len(ids)):
        scores[position], state = step(trie, state, ids[position])
    return scores


@compiled
def find_parents(trie: Trie, ngrams: NDArray[np.int32]) -> NDArray[np.int32]:
    """The nodes of ``ngrams (n, k)`` without their last words; -1 where the tree lacks one."""
    parents = np.empty(len(ngrams), dtype=np.int32)  # (n,)
    for row in range(len(ngrams)):
        node = ROOT
        for word in ngrams[row, :-1]:
            node = _find_child(trie, node, word)
            if node < 0:
                break
        parents[row] = node
    return parents


@compiled
def link_nodes(trie: Trie) -> None:
    """Fill in ``links``. Those of shorter n-grams come first, and longer ones follow them."""
    # The link of "a b c" is "b c" where the tree has it as a context, else "c": the parent's link,
    # which is "b", is followed until something there has "c".
    trie.links[ROOT] = ROOT
    for word in range(trie.children[ROOT + 1] - 1):
        trie.links[1 + word] = ROOT
    for parent in range(1, len(trie.backoffs)):
        for node in range(trie.children[parent], trie.children[parent + 1]):
            state = trie.links[parent]
            ending = _find_child(trie, state, trie.words[node])
            while ending < 0:
                state = trie.links[state]
                ending = _find_child(trie, state, trie.words[node])
            trie.links[node] = _find_state(trie, ending)


@compiled
def _find_state(trie: Trie, node: int) -> int:
    """The node itself if anything follows it or its backoff counts, else where its link leads."""
    link: int = trie.links[node]
    if node >= len(trie.backoffs):
        return link
    followed = trie.children[node] < trie.children[node + 1]
    return node if followed or trie.backoffs[node] != 0.0 else link


@compiled
def _find_child(trie: Trie, node: int, word: int) -> int:
    """The child of that word, or -1: children stand side by side, sorted by word."""
    if node == ROOT:
        return 1 + word
    low: int = trie.children[node]
    high: int = trie.children[node + 1]
    while low < high:
        middle = (low + high) >> 1
        found = trie.words[middle]
        if found == word:
            return middle
        if found < word:
            low = middle + 1
        else:
            high = middle
    return -1
