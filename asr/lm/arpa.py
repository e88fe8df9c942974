"""ARPA files, the common form of backoff n-gram models, read and written.

The format is that of Doug Paul's tools (MIT Lincoln Laboratory), described in SRILM's
``ngram-format``: a header with the number of n-grams of each order, then a section for each, a line
``log10(p)  words  log10(backoff)`` for each n-gram.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asr.files.read import DAMAGED, open_text
from asr.files.write import replace_file
from asr.lm.ngrams import MOST_ORDERS, OTHER_UNKNOWN, UNKNOWN, Ngrams, NgramTable
from asr.types import LanguageModelError

if TYPE_CHECKING:
    from asr.lm.arpa_lines import WordTable

__all__ = ["read_arpa", "write_arpa"]

BLOCK = 1 << 23  # bytes read at once
LONGEST_LINE = 1 << 20
ROWS_AT_ONCE = 1 << 16
COUNT = re.compile(rb"ngram\s+(\d{1,9})\s*=\s*(\d{1,18})")


def read_arpa(path: str | os.PathLike[str]) -> Ngrams:
    """Read an ARPA file, packed with gzip or xz or not, of any order. ``<UNK>`` is ``<unk>``.

    Memory is 4 (k + 2) bytes an n-gram of order k, twice while parts are joined, and a block of the
    file; nothing is reserved for what the header promises.

    Raises:
        LanguageModelError: the file cannot be read or is no ARPA file; the message has the number
            of the line.
    """
    name = os.fspath(path)
    try:
        with open_text(path) as (_, stream):
            return _Reader(name, stream).read()
    except DAMAGED:
        raise LanguageModelError(
            "the packed stream is damaged", where=name, remedy="get the file anew"
        ) from None
    except OSError as error:
        raise LanguageModelError(
            f"cannot read: {error.strerror or error}", where=name, remedy="check the path"
        ) from None


class _Reader:
    """Goes through a file once, a block of whole lines at a time."""

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self._name = name
        self._stream = stream
        self._block = b""
        self._at = 0  # what of the block is done
        self._line = 0  # how many lines are done

    def read(self) -> Ngrams:
        words = _Words()
        tables = []
        for order, count in enumerate(self._header(), start=1):
            self._expect(b"\\%d-grams:" % order)
            table = self._section(order, words)
            if len(table.words) != count:
                raise self._error(
                    f"the header says {count} {order}-grams, here end {len(table.words)}",
                    "get the file anew, or mend the header",
                )
            tables.append(table)
        self._expect(b"\\end\\")
        vocabulary = tuple(word.decode() for word in words.found)
        return Ngrams(vocabulary, tuple(tables), self._name)

    def _header(self) -> list[int]:
        """The number of n-grams of each order."""
        while (line := self._next_line()) != b"\\data\\":
            if line is None:
                raise LanguageModelError(
                    "this is no ARPA file: it has no line \\data\\",
                    where=self._name,
                    remedy="give a language model as text, not in a program's own format",
                )
        counts: list[int] = []
        while line := self._next_line():
            match = COUNT.fullmatch(line)
            if match is None or int(match[1]) != len(counts) + 1:
                raise self._error(f"not ngram {len(counts) + 1}=N, but {_shown(line)}")
            if len(counts) == MOST_ORDERS:
                raise self._error(f"more than {MOST_ORDERS} orders of n-grams")
            counts.append(int(match[2]))
        if not counts:
            raise self._error("the header has no line ngram 1=N")
        return counts

    def _expect(self, title: bytes) -> None:
        """Go past blank lines and this one."""
        while (line := self._next_line()) == b"":
            pass
        if line is None:
            raise self._error(f"the file ends before {title.decode()}", "get the file anew")
        if line != title:
            raise self._error(f"not {title.decode()}, but {_shown(line)}")

    def _section(self, order: int, words: _Words) -> NgramTable:
        """All n-grams of an order; those of order 1 are the words."""
        first = self._line + 1
        numbers: list[NDArray[np.int32]] = [np.empty((0, order), dtype=np.int32)]
        values = [np.empty((0, 2), dtype=np.float32)]
        while self._fill():
            above = self._line
            text, spans, some = self._parse(order)
            if not len(spans):
                break
            for row, what in words.complaints(text, spans):
                raise self._error(what, line=above + 1 + row)
            numbers.append(words.numbers(text, spans))
            values.append(some)
        log_probs, backoffs = np.concatenate(values).T.copy()
        return NgramTable(np.concatenate(numbers), log_probs, backoffs, first)

    def _parse(
        self, order: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]]:
        """N-grams to the end of the section or block: text, words' places, and both logarithms."""
        from asr.lm.arpa_lines import parse_lines

        text = np.frombuffer(self._block, dtype=np.uint8)
        room = self._block.count(b"\n", self._at)
        spans = np.empty((room, order, 2), dtype=np.int32)
        values = np.empty((room, 2), dtype=np.float32)
        self._at, rows, bad = parse_lines(text, self._at, values, spans)
        self._line += rows
        if bad:
            line = self._next_line() or b""
            raise self._error(_complaint(line, order))
        return text, spans[:rows], values[:rows]

    def _next_line(self) -> bytes | None:
        """The next line without spaces around it, or None at the end."""
        if not self._fill():
            return None
        end = self._block.index(b"\n", self._at)
        line = self._block[self._at : end].strip()
        self._at = end + 1
        self._line += 1
        return line

    def _fill(self) -> bool:
        """Read on if the block is done; False at the end of the file."""
        if self._at == len(self._block):
            block = self._stream.read(BLOCK)
            if block and not block.endswith(b"\n"):
                block += self._stream.readline(LONGEST_LINE)
                if not block.endswith(b"\n") and self._stream.read(1):
                    raise LanguageModelError(
                        f"a line is longer than {LONGEST_LINE} bytes",
                        where=self._name,
                        remedy="give an ARPA file",
                    )
            self._block = block if block.endswith(b"\n") or not block else block + b"\n"
            self._at = 0
        return bool(self._block)

    def _error(
        self, what: str, remedy: str = "mend the file", line: int | None = None
    ) -> LanguageModelError:
        where = f"{self._name}, line {self._line if line is None else line}"
        return LanguageModelError(what, where=where, remedy=remedy)


class _Words:
    """The vocabulary: collected from the first section, looked up in those after it."""

    def __init__(self) -> None:
        self.found: list[bytes] = []
        self._seen: set[bytes] = set()
        self._table: WordTable | None = None

    def numbers(self, text: NDArray[np.uint8], spans: NDArray[np.int32]) -> NDArray[np.int32]:
        """Numbers ``(n, k)`` of the words at ``spans (n, k, 2)``; new ones where k is 1."""
        if spans.shape[1] > 1:
            return self._looked_up(text, spans)
        begin = len(self.found)
        self.found += _cut(text, spans)
        return np.arange(begin, len(self.found), dtype=np.int32)[:, None]

    def complaints(
        self, text: NDArray[np.uint8], spans: NDArray[np.int32]
    ) -> Iterator[tuple[int, str]]:
        """Rows whose words cannot be, and why."""
        if spans.shape[1] == 1:
            for row, word in enumerate(_cut(text, spans)):
                try:
                    word.decode()
                except UnicodeDecodeError:
                    yield row, f"not UTF-8 text: {_shown(word)}"
                if word in self._seen:
                    yield row, f"the word {_shown(word)} stands twice"
                self._seen.add(word)
            return
        for row, place in np.argwhere(self._looked_up(text, spans) < 0):
            [word] = _cut(text, spans[row : row + 1, place : place + 1])
            yield int(row), f"the word {_shown(word)} is not among the 1-grams"

    def _looked_up(self, text: NDArray[np.uint8], spans: NDArray[np.int32]) -> NDArray[np.int32]:
        from asr.lm.arpa_lines import make_word_table, number_words

        if self._table is None:
            self._table = make_word_table([*self.found, OTHER_UNKNOWN.encode()])
        numbers = number_words(text, spans, self._table)
        other = numbers == len(self.found)
        if other.any():
            unknown = UNKNOWN.encode()
            numbers[other] = self.found.index(unknown) if unknown in self._seen else -1
        return numbers


def _cut(text: NDArray[np.uint8], spans: NDArray[np.int32]) -> list[bytes]:
    """The words at ``spans (n, 1, 2)``."""
    whole, other, unknown = text.tobytes(), OTHER_UNKNOWN.encode(), UNKNOWN.encode()
    words = [whole[begin:end] for begin, end in spans[:, 0].tolist()]
    return [unknown if word == other else word for word in words]


def _complaint(line: bytes, order: int) -> str:
    """Why a line is no n-gram of that order."""
    fields = re.split(rb"[ \t\r]+", line)
    if len(fields) not in (order + 1, order + 2):
        return f"not a {order}-gram: {len(fields)} fields, not {order + 1} or {order + 2}"
    numbers = [fields[0], *fields[order + 1 :]]
    for number in numbers:
        try:
            value = float(number)
        except ValueError:
            return f"not a number: {_shown(number)}"
        if not abs(value) < 1e38:
            return f"not a finite number: {_shown(number)}"
    return f"the logarithm of a probability is {_shown(fields[0])}, above 0"


def _shown(text: bytes) -> str:
    shown = text.decode(errors="replace")
    return repr(shown if len(shown) <= 60 else shown[:60] + "…")


def write_arpa(
    ngrams: Ngrams,
    path: str | os.PathLike[str],
    on_write: Callable[[int], None] = lambda _: None,
) -> None:
    """Write an ARPA file, packed with gzip where the name ends in .gz.

    ``on_write`` is told how many n-grams were written since the last time.

    Numbers have as many digits as it takes to read the same float32 again. Equal models give equal
    files, packed ones too.

    Raises:
        OSError: the file cannot be written.
    """
    with _writer(path) as write:
        counts = (f"ngram {k}={len(t.words)}\n" for k, t in enumerate(ngrams.tables, start=1))
        write("\\data\\\n" + "".join(counts))
        for order, table in enumerate(ngrams.tables, start=1):
            write(f"\n\\{order}-grams:\n")
            for begin in range(0, len(table.words), ROWS_AT_ONCE):
                rows = slice(begin, min(begin + ROWS_AT_ONCE, len(table.words)))
                write(_lines(ngrams, order, rows))
                on_write(rows.stop - rows.start)
        write("\n\\end\\\n")


def _lines(ngrams: Ngrams, order: int, rows: slice) -> str:
    table = ngrams.tables[order - 1]
    words = [" ".join(map(ngrams.vocabulary.__getitem__, r)) for r in table.words[rows].tolist()]
    log_probs = table.log_probs[rows].astype(str).tolist()
    if order == ngrams.order:
        return "".join(f"{p}\t{w}\n" for p, w in zip(log_probs, words, strict=True))
    backoffs = table.backoffs[rows].astype(str).tolist()
    return "".join(f"{p}\t{w}\t{b}\n" for p, w, b in zip(log_probs, words, backoffs, strict=True))


@contextmanager
def _writer(path: str | os.PathLike[str]) -> Iterator[Callable[[str], object]]:
    with ExitStack() as stack:
        raw = stack.enter_context(replace_file(path))
        stream: BinaryIO = raw
        if os.fspath(path).endswith(".gz"):
            # Without the name and time of gzip's header, which would make files differ.
            packed = gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0)
            stream = stack.enter_context(packed)  # type: ignore[assignment]
        yield lambda text: stream.write(text.encode())
