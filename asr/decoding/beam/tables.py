"""The records of beam search: numpy structures, whose fields compiled code reads by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["HISTORY", "NODE", "NONE", "PREFIX", "STEP", "WORD_PREFIX", "Records", "copied"]

Records = NDArray[Any]  # of one of the structures below
NONE = -1  # no row, no slot

#: A prefix in the beam, or one that may come into it. All numbers are natural logarithms.
PREFIX = np.dtype(
    [
        ("log_blank", np.float64),  # of the paths that spell it and end in a blank,
        ("log_token", np.float64),  # of those that end in its last token,
        ("log_total", np.float64),  # and of both
        ("lm_score", np.float64),  # the language model's, weighted
        ("bonus", np.float64),  # what words, tokens and phrases earned
        ("lookahead", np.float64),  # what of either is still to come at best
        ("rank", np.float64),  # the sum of log_total and the three: what prefixes are chosen by
        ("row", np.int32),  # its row in the prefix tree; NONE until it is chosen
        ("parent", np.int32),  # before it is chosen: the row of the prefix that it extends
        ("last_token", np.int32),  # the blank for the empty prefix
        ("lm_state", np.int32),
        ("lexicon_node", np.int32),  # where the word begun is in the lexicon's tree
        ("phrase_node", np.int32),  # where the phrases' automaton is
    ],
    align=True,
)

#: A prefix that ever was in the beam: the one it extends, and the token it adds. The children of a
#: node are a linked list.
NODE = np.dtype(
    [
        ("parent", np.int32),
        ("token", np.int32),
        ("first_child", np.int32),
        ("next_sibling", np.int32),
        ("slot", np.int32),  # where it is in the beam now; NONE: nowhere
        ("frame", np.int32),  # that was the first to say its token
    ]
)

#: What search in words has for a prefix: whole words, their history, and where in
#: the lexicon's tree the word begun is. Numbers are as in PREFIX.
WORD_PREFIX = np.dtype(
    [
        ("log_blank", np.float64),
        ("log_token", np.float64),
        ("log_total", np.float64),
        ("lm_score", np.float64),  # of the history
        ("bonus", np.float64),  # of the history and, but for its phrases, of the word begun
        ("lookahead", np.float64),
        ("rank", np.float64),
        ("row", np.int32),  # the history's row among all; NONE until it is chosen
        ("parent", np.int32),  # the row of the history without its last word,
        ("word", np.int32),  # and that word; both NONE for the empty history
        ("lexicon_node", np.int32),
        ("lm_state", np.int32),
        ("phrase_node", np.int32),
    ],
    align=True,
)

#: Words in sequence that ever were in the beam: all but the last, and the last, and the frame in
#: which it ended first.
HISTORY = np.dtype([("parent", np.int32), ("word", np.int32), ("frame", np.int32)])

#: What the language model said of a word in a state.
STEP = np.dtype(
    [("log10", np.float64), ("state", np.int32), ("word", np.int32), ("after", np.int32)],
    align=True,
)


def copied(records: Records) -> Records:
    """A copy as bytes: numpy's own goes field by field, and takes ten times as long."""
    return records.view(np.uint8).copy().view(records.dtype)
