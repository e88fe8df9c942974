"""MP4 and WebM before FFmpeg sees them: whether all is there, and no more is claimed than that.

FFmpeg reads what is left of a file and says nothing of the rest, and makes tables as long as a
header says. So the boxes of MP4 (ISO 14496-12; QuickTime has the same) and the elements of WebM and
Matroska (RFC 8794, RFC 9559) are looked at first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from asr.audio.link import RESTORE, Link, cut_short
from asr.types import AudioError

__all__ = ["WebmElements", "mp4_links", "webm_links"]

CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"edts"}
FREE_SAMPLES = 65_536  # of a table, whatever the bytes
BYTES_A_SAMPLE = 4  # the least on average; a table has 24 of each in memory
MOST_EDITS = 1_000
MOST_DEPTH = 16  # of boxes in boxes: five are usual
EBML, SEGMENT, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
ELEMENT_HEAD = 12  # bytes at most: of its name and of its size
FREE_ELEMENTS = 65_536
BYTES_AN_ELEMENT = 16  # the least on average


class Box(NamedTuple):
    """``kind``, and where its content lies."""

    kind: bytes
    body: int
    end: int


class Element(NamedTuple):
    """As a :class:`Box`; ``end`` is None where the size is left open."""

    kind: int
    body: int
    end: int | None


def mp4_links(view: memoryview) -> list[Link]:
    """The recordings in ``view``, one or several that were joined.

    Raises:
        AudioError: some of it is missing, or it claims more than its bytes can hold.
    """
    starts = [0]
    kinds: set[bytes] = set()
    for box, start in _top_boxes(view):
        if box.kind == b"ftyp" and kinds - {b"ftyp"}:
            starts.append(start)
        kinds.add(box.kind)
    if b"moov" not in kinds:
        raise AudioError("the MP4 file has no list of its contents (moov)", remedy=RESTORE)
    parts = [view[a:b] for a, b in zip(starts, [*starts[1:], len(view)], strict=True)]
    for part in parts:
        _Claims(part).check()
    return [Link("MP4", (part,)) for part in parts]


def webm_links(view: memoryview) -> list[Link]:
    """As :func:`mp4_links`, of WebM or Matroska."""
    links, start = [], 0
    while True:
        end = _segment_end(view, start)
        links.append(Link("WebM", (view[start:end],)))
        if bytes(view[end : end + 4]) != EBML.to_bytes(4, "big"):
            return links
        start = end


def _top_boxes(view: memoryview) -> Iterator[tuple[Box, int]]:
    """The boxes of a file, and where each begins; what is no box at its end is passed over."""
    start = 0
    while start + 8 <= len(view):
        box = _box(view, start, len(view))
        if box is None:
            return
        if box.end > len(view):
            raise cut_short(len(view), box.end, 0, "bytes")
        yield box, start
        start = box.end


def _box(view: memoryview, start: int, end: int) -> Box | None:
    """The box at ``start``, within what ends at ``end``; None: it is none."""
    size, kind = struct.unpack_from(">I4s", view, start)
    body = start + 8
    if size == 1 and start + 16 <= end:
        (size,) = struct.unpack_from(">Q", view, start + 8)
        body += 8
    stop = end if size == 0 else start + size
    if stop < body or not kind.strip(b"\0"):
        return None
    return Box(kind, body, stop)


class _Claims:
    """What the tables of one MP4 file say that there is."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._most = FREE_SAMPLES + len(view) // BYTES_A_SAMPLE
        self._samples = 0

    def check(self) -> None:
        """Raise AudioError if it is more than the file's bytes can hold."""
        try:
            self._check_boxes(0, len(self._view), 0)
        except struct.error:
            raise AudioError("a table of the MP4 file is cut", remedy=RESTORE) from None

    def _check_boxes(self, start: int, end: int, depth: int) -> None:
        if depth > MOST_DEPTH:
            raise AudioError(
                f"the MP4 file has boxes more than {MOST_DEPTH} deep in each other", remedy=RESTORE
            )
        table: dict[bytes, Box] = {}
        while start + 8 <= end:
            box = _box(self._view, start, end)
            if box is None:
                break
            if box.kind in CONTAINERS:
                self._check_boxes(box.body, min(box.end, end), depth + 1)
            elif box.kind == b"trun":
                self._add(*struct.unpack_from(">I", self._view, box.body + 4))
            elif box.kind == b"elst":
                self._check_edits(box)
            table[box.kind] = box
            start = box.end
        if b"stsz" in table:
            self._check_table(table)

    def _check_table(self, table: dict[bytes, Box]) -> None:
        """One track's: samples are of one size, or each size is listed."""
        size, count = struct.unpack_from(">II", self._view, table[b"stsz"].body + 4)
        if size == 0 or not self._is_pcm(table):
            self._add(count)
            return
        # Samples of PCM, one by one; FFmpeg's table has chunks of them.
        in_chunks = self._samples_in_chunks(table)
        if max(count, in_chunks) * size > len(self._view):
            raise cut_short(len(self._view), max(count, in_chunks) * size, 0, "bytes")

    def _is_pcm(self, table: dict[bytes, Box]) -> bool:
        """Whether each sample lasts one tick: as FFmpeg knows it."""
        if b"stts" not in table:
            return False
        entries, _, ticks = struct.unpack_from(">III", self._view, table[b"stts"].body + 4)
        return bool(entries == 1 and ticks == 1)

    def _samples_in_chunks(self, table: dict[bytes, Box]) -> int:
        offsets = table.get(b"stco", table.get(b"co64"))
        if offsets is None or b"stsc" not in table:
            return 0
        (chunks,) = struct.unpack_from(">I", self._view, offsets.body + 4)
        (runs,) = struct.unpack_from(">I", self._view, table[b"stsc"].body + 4)
        most = (table[b"stsc"].end - table[b"stsc"].body - 8) // 12
        total, previous = 0, (1, 0)
        for run in range(min(runs, most)):
            first, each, _ = struct.unpack_from(
                ">III", self._view, table[b"stsc"].body + 8 + 12 * run
            )
            total += max(first - previous[0], 0) * previous[1]
            previous = first, each
        return int(total + max(chunks + 1 - previous[0], 0) * previous[1])

    def _check_edits(self, box: Box) -> None:
        (edits,) = struct.unpack_from(">I", self._view, box.body + 4)
        if edits > MOST_EDITS:
            raise AudioError(
                f"the MP4 file is edited in more than {MOST_EDITS} places",
                remedy="write it anew: ffmpeg -i IN OUT",
            )

    def _add(self, count: int) -> None:
        self._samples += count
        if self._samples > self._most:
            raise AudioError(
                f"the MP4 file claims {self._samples} samples in {len(self._view)} bytes",
                remedy=RESTORE,
            )


def _segment_end(view: memoryview, start: int) -> int:
    """Where the file ends that begins at ``start``: its segment is behind a header."""
    element = _element(view, start)
    while element is not None and element.kind != SEGMENT:
        if element.end is None or element.end > len(view):
            break
        element = _element(view, element.end)
    if element is None or element.kind != SEGMENT:
        raise AudioError("the WebM file is cut short: it has no segment", remedy=RESTORE)
    if element.end is None:
        return _open_end(view, element.body)
    if element.end > len(view):
        raise cut_short(len(view), element.end, 0, "bytes")
    return element.end


def _open_end(view: memoryview, place: int) -> int:
    """Where a segment ends whose size is open, as a browser's recorder leaves it."""
    for _ in range(FREE_ELEMENTS + len(view) // BYTES_AN_ELEMENT):
        if place == len(view):
            return place
        element = _element(view, place)
        if element is None:
            raise AudioError("the WebM file is cut short within an element", remedy=RESTORE)
        if element.kind == EBML:
            return place
        place = element.body if element.end is None else element.end  # into open clusters
        if place > len(view):
            raise cut_short(len(view), place, 0, "bytes")
    raise AudioError("the WebM file has more elements than any recorder writes", remedy=RESTORE)


def _element(view: memoryview, start: int) -> Element | None:
    """The element at ``start``; None: there is none, or its head is cut (RFC 8794, 4 to 6)."""
    if start >= len(view) or not view[start]:
        return None
    body = start + 9 - view[start].bit_length()
    if body >= len(view) or not view[body]:
        return None
    length = 9 - view[body].bit_length()
    end = body + length
    if end > len(view):
        return None
    size = int.from_bytes(view[body:end], "big") & ((1 << 7 * length) - 1)
    kind = int.from_bytes(view[start:body], "big")
    return Element(kind, end, None if size == (1 << 7 * length) - 1 else end + size)


class WebmElements:
    """A WebM file that comes in pieces: its elements are looked at, and its bytes given on.

    It may stop anywhere.
    """

    def __init__(self) -> None:
        self._head = bytearray()  # of an element, as far as it has come
        self._left = 0  # bytes of an element that are still to come
        self._count = 0  # bytes in all
        self._files = 0

    def push(self, data: bytes) -> bytes:
        """The bytes.

        Raises:
            AudioError: they are no elements, or a second file begins.
        """
        self._count += len(data)
        self._head += data
        while self._skip() or self._enter():
            pass
        return data

    def _skip(self) -> bool:
        """Pass over what an element contains; whether there was something of it."""
        there = min(self._left, len(self._head))
        del self._head[:there]
        self._left -= there
        return there > 0

    def _enter(self) -> bool:
        """Look at an element's head, if it has come."""
        if self._left or len(self._head) < ELEMENT_HEAD:
            return False
        element = _element(memoryview(bytes(self._head[:ELEMENT_HEAD])), 0)
        if element is None:
            raise AudioError(
                f"the WebM file is damaged: there is no element at byte "
                f"{self._count - len(self._head)}",
                remedy=RESTORE,
            )
        self._files += element.kind == EBML
        if self._files > 1:
            raise AudioError("a second WebM file begins", remedy="send it by a stream of its own")
        has_elements = element.kind in (SEGMENT, CLUSTER) or element.end is None
        self._left = 0 if has_elements else (element.end or element.body) - element.body
        del self._head[: element.body]
        return True
