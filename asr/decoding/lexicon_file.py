"""Files with a word a line and how it is spelled or pronounced, as all decoders read them."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from asr.files.read import read_lines
from asr.lm.ngrams import OTHER_UNKNOWN, UNKNOWN
from asr.types import AsrError

__all__ = ["Entry", "read_entries"]

VARIANT = re.compile(r"(.+)\([0-9]+\)")


class Entry(NamedTuple):
    """A line: its place, for messages, its word, and the tokens of the word, if any are given."""

    where: str
    word: str
    tokens: list[str]
    text: str


def read_entries(path: str | os.PathLike[str], error: type[AsrError]) -> list[Entry]:
    """The lines that are not blank.

    ``READ(2)`` is another pronunciation of ``READ``, as the CMU dictionary has them, and ``<UNK>``
    is ``<unk>``.

    Raises:
        AsrError: of the class ``error``: see :func:`asr.files.read.read_lines`.
    """
    entries = []
    for where, text in read_lines(path, error):
        word, *tokens = text.split()
        if variant := VARIANT.fullmatch(word):
            word = variant[1]
        word = UNKNOWN if word == OTHER_UNKNOWN else word
        entries.append(Entry(where, word, tokens, text.strip()))
    return entries
