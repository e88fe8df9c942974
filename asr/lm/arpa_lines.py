"""The lines of n-grams in an ARPA file, by compiled code: a million in well under a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.compiled import compiled

__all__ = ["WordTable", "make_word_table", "number_words", "parse_lines"]

Bytes = NDArray[np.uint8]

TAB, NEWLINE, RETURN, SPACE = b"\t\n\r "
PLUS, MINUS, POINT, ZERO, NINE, BACKSLASH = b"+-.09\\"
SMALL_E, LARGE_E = b"eE"
LARGEST = 1e38  # within float32
EXACT = 10**17  # more digits than these change nothing
MOST_SHIFT = 9999  # exponents beyond it are zero or too large, all the same


@compiled
def parse_lines(
    text: Bytes, begin: int, values: NDArray[np.float32], spans: NDArray[np.int32]
) -> tuple[int, int, bool]:
    """Take lines of n-grams from position ``begin`` to a blank line, a backslash or the end.

    The text ends in a line break. Filled in, with room for every line: ``values (L, 2)``,
    log-probability and backoff, and ``spans (L, k, 2)``, where each word begins and ends.

    Returns the position after the last line taken, how many there were, and whether one that is not
    an n-gram of order k came next.
    """
    row = 0
    # A line that is not whole, or wrong, is left to the caller, who has words for what is wrong:
    # nothing of it counts unless all of it is good.
    while begin < len(text):
        at = _skip(text, begin)
        if text[at] == NEWLINE or text[at] == BACKSLASH:
            return begin, row, False
        log_prob, at, good = _parse_number(text, at)
        good = good and log_prob <= 0.0
        for place in range(spans.shape[1]):
            at = _skip(text, at)
            spans[row, place, 0] = at
            at = _find_word_end(text, at)
            spans[row, place, 1] = at
            good = good and at > spans[row, place, 0]
        at, backoff = _skip(text, at), 0.0
        if good and text[at] != NEWLINE:
            backoff, at, good = _parse_number(text, at)
            at = _skip(text, at)
        if not good or text[at] != NEWLINE:
            return begin, row, True
        values[row, 0] = log_prob
        values[row, 1] = backoff
        row += 1
        begin = at + 1
    return begin, row, False


@compiled
def _skip(text: Bytes, at: int) -> int:
    """The next position that is no space; line breaks are none."""
    while text[at] == SPACE or text[at] == TAB or text[at] == RETURN:
        at += 1
    return at


@compiled
def _find_word_end(text: Bytes, at: int) -> int:
    while not (text[at] == SPACE or text[at] == TAB or text[at] == RETURN or text[at] == NEWLINE):
        at += 1
    return at


@compiled
def _parse_number(text: Bytes, at: int) -> tuple[float, int, bool]:
    """The decimal number of a word, the position after it, and whether it is a finite one."""
    end = _find_word_end(text, at)
    negative = text[at] == MINUS
    if negative or text[at] == PLUS:
        at += 1
    # Digits are gathered in an integer, the point moves the exponent: mantissa * 10^exponent.
    mantissa, exponent, digits, fraction = 0, 0, 0, 0
    while (ZERO <= text[at] <= NINE) or (text[at] == POINT and not fraction):
        if text[at] == POINT:
            fraction = 1
        else:
            digits += 1
            if mantissa < EXACT:
                mantissa = mantissa * 10 + (text[at] - ZERO)
                exponent -= fraction
            else:
                exponent += 1 - fraction
        at += 1
    good = digits > 0
    if good and at < end and (text[at] == SMALL_E or text[at] == LARGE_E):
        shift, at, good = _parse_exponent(text, at + 1)
        exponent += shift
    value = mantissa / 10.0**-exponent if exponent < 0 else mantissa * 10.0**exponent
    good = good and at == end and value < LARGEST
    return (-value if negative else value), end, good


@compiled
def _parse_exponent(text: Bytes, at: int) -> tuple[int, int, bool]:
    """What follows the e of a number, the position after it, and whether it is an integer."""
    negative = text[at] == MINUS
    if negative or text[at] == PLUS:
        at += 1
    begin, value = at, 0
    while ZERO <= text[at] <= NINE:
        value = min(value * 10 + (text[at] - ZERO), MOST_SHIFT)
        at += 1
    return (-value if negative else value), at, at > begin


# Words to numbers


class WordTable(NamedTuple):
    """A vocabulary of V words for compiled code: a hash table with open addressing.

    Attributes:
        slots: int32, a power of two of them, number of a word or -1.
        text: the words' bytes, one after another.
        ends: ``(V + 1,)`` int64; word w is ``text[ends[w] : ends[w + 1]]``.
    """

    slots: NDArray[np.int32]
    text: Bytes
    ends: NDArray[np.int64]


def make_word_table(words: Sequence[bytes]) -> WordTable:
    """The table of ``words``; of equal ones the first is found."""
    ends = np.zeros(len(words) + 1, dtype=np.int64)
    np.cumsum([len(word) for word in words], out=ends[1:])
    slots = np.full(1 << (2 * len(words) + 1).bit_length(), -1, dtype=np.int32)
    table = WordTable(slots, np.frombuffer(b"".join(words), dtype=np.uint8), ends)
    _fill(table)
    return table


@compiled
def number_words(text: Bytes, spans: NDArray[np.int32], table: WordTable) -> NDArray[np.int32]:
    """Numbers of the words at ``spans (n, k, 2)`` of ``text``, ``(n, k)``; -1 of those unknown."""
    numbers = np.empty(spans.shape[:2], dtype=np.int32)
    for row in range(spans.shape[0]):
        for place in range(spans.shape[1]):
            slot = _find_slot(table, text, spans[row, place, 0], spans[row, place, 1])
            numbers[row, place] = table.slots[slot]
    return numbers


@compiled
def _fill(table: WordTable) -> None:
    for word in range(len(table.ends) - 1):
        slot = _find_slot(table, table.text, table.ends[word], table.ends[word + 1])
        if table.slots[slot] < 0:
            table.slots[slot] = word


@compiled
def _find_slot(table: WordTable, text: Bytes, begin: int, end: int) -> int:
    """Where the word of these bytes is in the table, or the free place where it would be."""
    hashed = np.uint64(14695981039346656037)  # FNV-1a
    for at in range(begin, end):
        hashed = (hashed ^ np.uint64(text[at])) * np.uint64(1099511628211)
    mask = np.uint64(len(table.slots) - 1)  # slots are a power of two
    slot = int(np.int64((hashed ^ (hashed >> np.uint64(32))) & mask))
    # Another word may be there: try the next place, until the word or a free place is found. At
    # least half of the places are free.
    while table.slots[slot] >= 0 and not _is_word(table, table.slots[slot], text, begin, end):
        slot = (slot + 1) & (len(table.slots) - 1)
    return slot


@compiled
def _is_word(table: WordTable, word: int, text: Bytes, begin: int, end: int) -> bool:
    start = table.ends[word]
    if table.ends[word + 1] - start != end - begin:
        return False
    for offset in range(end - begin):  # noqa: SIM110
        if table.text[start + offset] != text[begin + offset]:
            return False
    return True
