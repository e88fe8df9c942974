"""Language models in little room: about 2 bytes an n-gram, read in a second.

The file is one line of JSON, ``{"format": "peephole-asr n-grams", "version": 1, "step": 0.03125,
"words": bytes, "counts": [of order 1, of order 2, …]}``, and then a stream packed by xz, which
notices damage. The stream has the words in UTF-8, each with a line break after it, the likeliest
first. The model's tree (:class:`asr.lm.trie.Trie`) follows in columns of integers, an order after
another:

- ``-log10 p / step`` of each node, uint16;
- but for the last order, ``log10 backoff / step + 32768`` of each node, uint16;
- but for the first order, how many children each node of the order before has, uint32;
- but for the first order, each node's word less that of the sibling before it, or, of a first
  child, less -1; uint32.

A column is all its lowest bytes, then all its next ones: alike bytes side by side pack best.

Logarithms are rounded to a step of 1/32. A probability is off by 3.7 % at most, as often up as
down: the perplexity of a model of 1.5 million n-grams moved by 0.04 %.
"""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asr.files.read import DAMAGED, open_input
from asr.files.write import replace_file
from asr.lm.ngrams import MOST_ORDERS, Ngrams, NgramTable
from asr.lm.trie import Trie, link_nodes, order_bounds
from asr.types import LanguageModelError

__all__ = ["by_frequency", "is_compact", "read_compact", "write_compact"]

FORMAT = "peephole-asr n-grams"
MAGIC = b'{"format": "%s"' % FORMAT.encode()
VERSION = 1
STEP = 1 / 32  # of log10; a power of two, so that multiples of it are exact
MOST_STEPS = 1 << 20  # of a value before it is limited to what is stored
ZERO = 1 << 15  # what a backoff of 1 is stored as
LONGEST_HEADER = 1 << 12
SHORT, LONG = 2, 4  # bytes of an integer
BLOCK = 1 << 20  # bytes read at once

Ints = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


def is_compact(path: str | os.PathLike[str]) -> bool:
    """True if the file is in this form. Pipes are not looked at: they are read once only.

    Of a file that cannot be read, whoever reads it next says why.
    """
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def by_frequency(ngrams: Ngrams) -> Ngrams:
    """The same n-grams, their words numbered from the likeliest on, as this form needs them."""
    words = ngrams.tables[0]
    order = np.argsort(-words.log_probs, kind="stable")
    numbers = np.empty(len(order), dtype=np.int32)
    numbers[order] = np.arange(len(order), dtype=np.int32)
    first = NgramTable(numbers[words.words[order]], words.log_probs[order], words.backoffs[order])
    longer = (NgramTable(numbers[t.words], t.log_probs, t.backoffs) for t in ngrams.tables[1:])
    return Ngrams(tuple(ngrams.vocabulary[n] for n in order), (first, *longer), ngrams.source)


def write_compact(
    vocabulary: tuple[str, ...], trie: Trie, order: int, path: str | os.PathLike[str]
) -> None:
    """Write a tree whose words are numbered by :func:`by_frequency`. Equal ones give equal files.

    Raises:
        OSError: the file cannot be written.
    """
    words = "".join(f"{word}\n" for word in vocabulary).encode()
    bounds = order_bounds(trie, order)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "step": STEP,
        "words": len(words),
        "counts": [end - begin for begin, end in pairwise(bounds[1:])],
    }
    with replace_file(path) as raw:
        raw.write(json.dumps(header).encode() + b"\n")
        with lzma.LZMAFile(raw, "wb", check=lzma.CHECK_CRC32) as stream:
            stream.write(words)
            for column, width in _columns(trie, bounds):
                for place in range(width):
                    stream.write(((column >> 8 * place) & 255).astype(np.uint8).tobytes())


def _columns(trie: Trie, bounds: list[int]) -> Iterator[tuple[Ints, int]]:
    """The tree's columns with the bytes of an integer, in the sequence of the file."""
    order = len(bounds) - 2
    for k in range(1, order + 1):
        nodes = slice(bounds[k], bounds[k + 1])
        yield np.clip(_steps(-trie.log_probs[nodes]), 0, 2 * ZERO - 1), SHORT
        if k < order:
            yield np.clip(_steps(trie.backoffs[nodes]) + ZERO, 0, 2 * ZERO - 1), SHORT
        if k > 1:
            fan = np.diff(trie.children[bounds[k - 1] : bounds[k] + 1]).astype(np.int64)
            yield fan, LONG
            words = trie.words[nodes].astype(np.int64)
            gaps = np.diff(words, prepend=-1)
            first = (np.cumsum(fan) - fan)[fan > 0]
            gaps[first] = words[first] + 1
            yield gaps, LONG


def _steps(values: NDArray[np.float32]) -> Ints:
    steps = np.rint(values.astype(np.float64) / STEP)
    return np.clip(steps, -MOST_STEPS, MOST_STEPS).astype(np.int64)


def read_compact(path: str | os.PathLike[str]) -> tuple[tuple[str, ...], Trie, int]:
    """The vocabulary, the tree and the order that :func:`write_compact` wrote.

    Raises:
        LanguageModelError: the file cannot be read, is damaged, or is of a newer version.
    """
    name = os.fspath(path)
    try:
        with open_input(path) as raw:
            header = _header(raw, name)
            with lzma.LZMAFile(raw) as stream:
                return _read(stream, header)
    except (*DAMAGED, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise LanguageModelError(
            "the language model is damaged", where=name, remedy="get the file anew"
        ) from None
    except OSError as error:
        raise LanguageModelError(
            f"cannot read: {error.strerror or error}", where=name, remedy="check the path"
        ) from None


def _header(raw: BinaryIO, name: str) -> dict[str, Any]:
    header = json.loads(raw.readline(LONGEST_HEADER))
    if header["format"] != FORMAT or not isinstance(header["version"], int):
        raise ValueError
    if header["version"] > VERSION:
        raise LanguageModelError(
            f"the file has version {header['version']} of its form, this program reads {VERSION}",
            where=name,
            remedy="install a newer version, or make the model anew",
        )
    return dict(header)


def _read(stream: lzma.LZMAFile, header: dict[str, Any]) -> tuple[tuple[str, ...], Trie, int]:
    counts = [int(count) for count in header["counts"]]
    order, step = len(counts), float(header["step"])
    _expect(1 <= order <= MOST_ORDERS and min(counts) >= 0 and 0 < step < 1)
    vocabulary = tuple(_taken(stream, int(header["words"])).decode().split("\n")[:-1])
    _expect(len(vocabulary) == counts[0])
    log_probs: list[Floats] = [np.zeros(1)]
    backoffs: list[Floats] = [np.zeros(1)]
    words = [np.array([-1]), np.arange(counts[0])]
    fans = [np.array([1, counts[0]])]
    for k, count in enumerate(counts, start=1):
        log_probs.append(-step * _column(stream, count, SHORT))
        if k < order:
            backoffs.append(step * (_column(stream, count, SHORT) - ZERO))
        if k > 1:
            fans.append(_column(stream, counts[k - 2], LONG))
            words.append(_words(_column(stream, count, LONG), fans[-1], counts[0]))
    _expect(not stream.read(1))
    trie = Trie(
        words=np.concatenate(words).astype(np.int32),
        log_probs=np.concatenate(log_probs).astype(np.float32),
        links=np.zeros(1 + sum(counts), dtype=np.int32),
        backoffs=np.concatenate(backoffs).astype(np.float32),
        children=np.cumsum(np.concatenate(fans)).astype(np.int32),
    )
    link_nodes(trie)
    return vocabulary, trie, order


def _taken(stream: lzma.LZMAFile, size: int) -> bytes:
    """Exactly that many bytes; memory is taken as they come, not as the header promises."""
    blocks = []
    while size > 0:
        blocks.append(stream.read(min(size, BLOCK)))
        _expect(len(blocks[-1]) > 0)
        size -= len(blocks[-1])
    return b"".join(blocks)


def _column(stream: lzma.LZMAFile, count: int, width: int) -> Ints:
    planes = np.frombuffer(_taken(stream, count * width), dtype=np.uint8).reshape(width, count)
    column = np.zeros(count, dtype=np.int64)
    for place, plane in enumerate(planes):
        column |= plane.astype(np.int64) << 8 * place
    return column


def _words(gaps: Ints, fan: Ints, size: int) -> Ints:
    """The words that :func:`_columns` wrote as gaps: they rise among the children of a node."""
    _expect(int(fan.sum()) == len(gaps) and bool((gaps > 0).all()))
    sums = np.cumsum(gaps)
    before = np.concatenate([[0], sums])[np.cumsum(fan) - fan]  # at the first child of each node
    words: Ints = sums - np.repeat(before, fan) - 1
    _expect(bool((words < size).all()))
    return words


def _expect(holds: bool) -> None:
    if not holds:
        raise ValueError
