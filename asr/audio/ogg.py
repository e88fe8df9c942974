"""Ogg pages: the links of a chained file, what is missing, and FLAC in Ogg without its pages.

libsndfile reads to the end of the first link, and passes over pages that are lost or damaged, so
all pages are looked at first (RFC 3533).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from asr.audio.containers import Data
from asr.audio.mapped import Walk, find
from asr.types import AudioError

__all__ = ["OggLink", "OggPages", "ogg_links"]

HEAD = struct.Struct("<4sBBqIIIB")  # OggS, version, flags, granule, serial, number, checksum, count
VERSION = 0
OGGS = re.compile(b"OggS")
BEGINS, ENDS = 2, 4  # flags
CODECS = {b"\x01vorbis": "Vorbis", b"OpusHead": "Opus", b"\x7fFLAC": "FLAC"}
OTHERS = {b"Speex   ": "Speex", b"\x80theora": "Theora", b"CELT    ": "CELT", b"PCM     ": "PCM"}
OGG_FLAC_HEAD = 9  # bytes of the first packet before what a FLAC file begins with
REPAIR = "send the whole file; ffmpeg -i IN OUT makes a whole one of what is left"
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Page(NamedTuple):
    start: int
    body: int
    end: int
    flags: int
    granule: int
    serial: int
    number: int


@dataclass
class Stream:
    """The pages of one serial number in one link."""

    codec: str
    rate: int
    skip: int
    pages: list[Page] = field(default_factory=list)
    seconds: float = 0.0  # as far as the pages go

    def add(self, page: Page) -> None:
        """Take the next page.

        Raises:
            AudioError: pages before it are missing.
        """
        if self.pages and page.number != (self.pages[-1].number + 1) & 0xFFFF_FFFF:
            lost = (page.number - self.pages[-1].number - 1) & 0xFFFF_FFFF
            what = (
                f"{lost} of its pages are missing" if lost < 2**31 else "its pages are disordered"
            )
            raise AudioError(
                f"the Ogg stream has a gap after {self.seconds:.2f} s: {what}", remedy=REPAIR
            )
        self.pages.append(page)
        if page.granule >= 0 and self.rate:
            self.seconds = max(page.granule - self.skip, 0) / self.rate


@dataclass(frozen=True)
class OggLink:
    """One recording: its codec, and its bytes in parts."""

    codec: str
    parts: tuple[memoryview, ...]


def ogg_links(data: Data, start: int) -> tuple[list[OggLink], int]:
    """The links from byte ``start``, and where their pages end.

    Raises:
        AudioError: a link holds no audio that is read, or several streams of it; pages are missing
            or damaged; the last one is not there, or cut.
    """
    reading = _Reading()
    end = start
    for page in _pages(data, start):
        end = page.end
        reading.take(data, page)
    return [_link(data, streams) for streams in reading.links], end


class _Reading:
    """Takes page after page; ``links`` has the streams of each link by serial number."""

    def __init__(self) -> None:
        self.links: list[dict[int, Stream]] = []
        self._has_begun = True

    def take(self, data: Data, page: Page) -> None:
        """Look at the next page.

        Raises:
            AudioError: it is damaged, or what should come before it is missing.
        """
        if page.flags & BEGINS and self._has_begun:
            self.links.append({})
        self._has_begun = not page.flags & BEGINS
        if not _is_whole(data, page):
            raise AudioError(
                f"the Ogg stream is damaged or cut after {self.seconds:.2f} s", remedy=REPAIR
            )
        if page.flags & BEGINS:
            self.links[-1].setdefault(page.serial, _stream(data, page))
        if not self.links or page.serial not in self.links[-1]:
            raise AudioError("the beginning of an Ogg stream is missing", remedy=REPAIR)
        self.links[-1][page.serial].add(page)

    @property
    def seconds(self) -> float:
        """Of the last link, as far as it goes."""
        streams = self.links[-1].values() if self.links else ()
        return max((stream.seconds for stream in streams), default=0.0)


class OggPages:
    """An Ogg file that comes in pieces: whole pages are given on, and nothing else.

    It may stop anywhere: no page has to be marked as the last, and one that is cut is not heard.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._reading = _Reading()

    def push(self, data: bytes) -> bytes:
        """The pages, perhaps none, that the next bytes complete.

        Raises:
            AudioError: they are not pages; one is damaged, lost or of a codec that is not read; or
                there are several streams of audio.
        """
        self._bytes += data
        done = 0
        while (page := self._page(done)) is not None and page.end <= len(self._bytes):
            self._reading.take(self._bytes, page)
            streams = self._reading.links[-1]
            if not page.flags & BEGINS:
                _audio_of(streams)
            del self._reading.links[:-1], streams[page.serial].pages[:-1]  # nobody asks for them
            done = page.end
        given = bytes(self._bytes[:done])
        del self._bytes[:done]
        return given

    def _page(self, start: int) -> Page | None:
        """The page at byte ``start``; None: its head has not come yet."""
        if not b"OggS".startswith(self._bytes[start : start + 4]):
            raise self._damage()
        if len(self._bytes) < start + HEAD.size:
            return None
        if self._bytes[start + 4] != VERSION:  # or it would be waited for what is no page
            raise self._damage()
        return _page_at(self._bytes, start)

    def _damage(self) -> AudioError:
        seconds = self._reading.seconds
        return AudioError(f"the Ogg stream is damaged or cut after {seconds:.2f} s", remedy=REPAIR)


def _audio_of(streams: dict[int, Stream]) -> Stream:
    """The one stream of a link that is audio of a known codec."""
    known = [stream for stream in streams.values() if stream.codec in CODECS.values()]
    if not known:
        names = ", ".join(stream.codec or "an unknown codec" for stream in streams.values())
        raise AudioError(
            f"the Ogg stream holds {names}, which is not read here",
            remedy="convert it to WAV or FLAC, with ffmpeg for example",
        )
    if len(known) > 1:
        raise AudioError(
            f"the Ogg file holds {len(known)} streams of audio at once",
            remedy="send one of them: ffmpeg -i IN -map 0:a:0 OUT",
        )
    [stream] = known
    return stream


def _link(data: Data, streams: dict[int, Stream]) -> OggLink:
    stream = _audio_of(streams)
    if not stream.pages[-1].flags & ENDS:
        raise AudioError(
            f"the Ogg stream breaks off after {stream.seconds:.2f} s: it has no last page",
            remedy="send the whole file; if it was never ended, ffmpeg -i IN -c copy OUT ends it",
        )
    view = memoryview(data)
    if stream.codec != "FLAC":
        return OggLink(stream.codec, tuple(view[page.start : page.end] for page in stream.pages))
    bodies = [view[page.body : page.end] for page in stream.pages]
    return OggLink("FLAC", (bodies[0][OGG_FLAC_HEAD:], *bodies[1:]))


def _stream(data: Data, first: Page) -> Stream:
    """The stream that begins with this page, whose only packet names the codec."""
    packet = bytes(data[first.body : first.end])
    codec = next((name for mark, name in CODECS.items() if packet.startswith(mark)), "")
    if codec == "Opus" and len(packet) >= 12:  # granules count 48,000 a second (RFC 7845, 4)
        return Stream(codec, 48_000, int.from_bytes(packet[10:12], "little"))
    if codec == "Vorbis" and len(packet) >= 16:
        return Stream(codec, int.from_bytes(packet[12:16], "little"), 0)
    if codec == "FLAC" and len(packet) >= 30:
        return Stream(codec, int.from_bytes(packet[27:30], "big") >> 4, 0)
    other = next((name for mark, name in OTHERS.items() if packet.startswith(mark)), "")
    return Stream(codec or other, 0, 0)


def _pages(data: Data, start: int) -> Iterator[Page]:
    """The pages from byte ``start``; what lies between them is none of theirs."""
    walk = Walk(data, start)
    while (start := find(data, OGGS, start)) >= 0:
        walk.at(start)
        if start + HEAD.size > len(data):
            yield Page(start, len(data), len(data) + 1, 0, -1, 0, 0)
            return
        page = _page_at(data, start)
        yield page
        start = page.end


def _page_at(data: Data, start: int) -> Page:
    """The page whose head is at byte ``start``; the rest of it need not be there."""
    _, _, flags, granule, serial, number, _, count = HEAD.unpack_from(data, start)
    body = start + HEAD.size + count
    end = body + sum(data[start + HEAD.size : body])
    return Page(start, body, end, flags, granule, serial, number)


def _is_whole(data: Data, page: Page) -> bool:
    """Whether all bytes of ``page`` are there, as its checksum tells."""
    if page.end > len(data):
        return False
    content = bytearray(data[page.start : page.end])
    told = int.from_bytes(content[22:26], "little")
    content[22:26] = bytes(4)
    # Ogg's checksum is that of zlib with the bits of all bytes and of the result turned round,
    # and with neither of its inversions.
    turned = zlib.crc32(content.translate(REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return told == int.from_bytes(turned.to_bytes(4, "little").translate(REVERSED), "big")
