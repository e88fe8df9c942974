"""MPEG audio without a container: frames of MP3 or AAC (ADTS) that follow each other.

No header says how many there are. libsndfile guesses from the first one's bit rate, and is then
wrong by a third where it changes. So frames are counted here, and the count is written where LAME
and FFmpeg write it as well: into a first frame that holds no sound, the Xing header. What is
missing or damaged shows in the same pass.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from asr.audio.link import RESTORE, Link, cut_short
from asr.audio.mapped import Walk
from asr.types import AudioError

__all__ = ["are_adts_frames", "are_mpeg_frames", "mpeg_links", "skip_id3"]

Data = bytes | bytearray | memoryview | mmap.mmap
FRAMES_IN_A_ROW = 3  # two bytes of one could be samples
KBITS = {  # by version (3 is MPEG-1) and layer (3 is layer I), from index 1
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = (44_100, 48_000, 32_000)
ADTS_RATES = (
    *(96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000),
    *(11_025, 8_000, 7_350),
)
HEAD_BYTES = 7
MOST_CANDIDATES = 10_000  # places behind damage that may be a frame's beginning
XING_KBITS_INDEX = 8  # of the frame that holds the count: large enough for it in every version
HAS_FRAMES = 1  # flag of a Xing header
HAS_BYTES = 2
ID3V1_BYTES = 128
APE_HEAD = struct.Struct("<8sIII")  # APETAGEX, version, bytes behind the header, items


class Frame(NamedTuple):
    """What a frame's header says; frames of one recording differ in ``size`` alone."""

    size: int
    samples: int
    rate: int
    is_mono: bool
    layer: int  # 3: MP3; 0: AAC


FrameOf = Callable[[bytes], Frame | None]


def are_mpeg_frames(data: Data, start: int) -> bool:
    """Whether frames of MPEG layers I to III follow each other as their headers say."""
    return _are_frames(data, start, _mpeg_frame)


def are_adts_frames(data: Data, start: int) -> bool:
    """Whether frames of AAC follow each other as their headers say."""
    return _are_frames(data, start, _adts_frame)


def skip_id3(data: Data, start: int = 0) -> int:
    """Where the audio begins: behind ID3v2 tags, if there are any (id3.org, ID3v2.4, 3.1)."""
    while bytes(data[start : start + 3]) == b"ID3":
        head = bytes(data[start : start + 10])
        if len(head) < 10 or head[3] == 0xFF or max(head[6:10]) > 0x7F:
            break
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        start += 10 + size + (10 if head[5] & 0x10 else 0)  # a footer
    return start


def mpeg_links(data: Data, start: int, kind: str) -> list[Link]:
    """The recordings of ``kind``, MP3 or AAC, from byte ``start`` to the end: files may be joined.

    Tags, and other bytes behind the last frame, are passed over.

    Raises:
        AudioError: there is none, frames are missing at the end, or something else is in between.
    """
    frame_of = _adts_frame if kind == "AAC" else _mpeg_frame
    links: list[Link] = []
    seconds = 0.0
    while True:
        start = _skip_tags(data, start)
        first = frame_of(bytes(data[start : start + HEAD_BYTES]))
        if first is None or (links and not _are_frames(data, start, frame_of)):
            break
        link, count, start = _run(data, start, first, kind, frame_of)
        if link is not None:
            links.append(link)
        seconds += count * first.samples / first.rate
    if not links:
        raise AudioError(f"there are no frames of {kind} in this file", remedy=RESTORE)
    if _goes_on(data, start, frame_of):
        raise AudioError(f"the audio is damaged after {seconds:.2f} s", remedy=RESTORE)
    return links


def _run(
    data: Data, start: int, first: Frame, kind: str, frame_of: FrameOf
) -> tuple[Link | None, int, int]:
    """The recording that begins at byte ``start``, its frames, and where it ends.

    It ends where another's Xing header or another format begins. None: it has no sound.
    """
    tag = _tag_place(first, bytes(data[start : start + 4])) if first.layer == 3 else 0
    place, count, frame = start, 0, first
    walk = Walk(data, start)
    while frame[1:] == first[1:] and not (count and tag and _is_tag(data, place + tag)):
        place += frame.size
        count += 1
        walk.at(place)
        if place > len(data):
            raise cut_short(len(data) - start, place - start, 0, "bytes")
        found = frame_of(bytes(data[place : place + HEAD_BYTES]))
        if found is None:
            break
        frame = found
    view = memoryview(data)[start:place]
    if first.layer != 3:
        samples = count * first.samples if first.layer else None
        return Link(kind, (view,), samples), count, place
    return _with_count(view, first, count, tag), count, place


def _with_count(view: memoryview, first: Frame, count: int, tag: int) -> Link | None:
    """The MP3 recording ``view`` of ``count`` frames, which its first frame now tells."""
    mark = bytes(view[tag : tag + 4])
    vbri = bytes(view[36:40]) == b"VBRI"  # of Fraunhofer's encoder, at the same place in every file
    sounds = count - (vbri or mark in (b"Xing", b"Info"))
    head = bytearray(view[: first.size])
    flags = struct.unpack_from(">I", head, tag + 4)[0] if len(head) >= tag + 16 else 0
    if not sounds:
        return None
    if vbri or mark not in (b"Xing", b"Info") or not flags & HAS_FRAMES:
        rest = view[first.size :] if sounds < count else view
        return Link("MP3", (_xing_frame(bytes(view[:4]), sounds), rest))
    (promised,) = struct.unpack_from(">I", head, tag + 8)
    if sounds < promised - 1:  # some count the frame of the header itself
        raise cut_short(sounds, promised, first.rate / first.samples, "frames")
    struct.pack_into(">I", head, tag + 8, sounds)
    if flags & HAS_BYTES:
        struct.pack_into(">I", head, tag + 12, len(view))
    return Link("MP3", (bytes(head), view[first.size :]))


def _xing_frame(head: bytes, count: int) -> bytes:
    """A frame without sound that says that ``count`` of the same format follow it."""
    start = bytearray(head)
    start[1] |= 1  # without a checksum
    start[2] = XING_KBITS_INDEX << 4 | start[2] & 0x0C
    frame = _mpeg_frame(bytes(start))
    assert frame is not None
    tag = _tag_place(frame, bytes(start))
    body = bytes(start) + bytes(tag - 4) + b"Xing" + struct.pack(">II", HAS_FRAMES, count)
    return body.ljust(frame.size, b"\0")


def _tag_place(frame: Frame, head: bytes) -> int:
    """Where a frame has its Xing header: behind what tells how its bits are shared out."""
    if head[1] >> 3 & 3 == 3:
        return 21 if frame.is_mono else 36
    return 13 if frame.is_mono else 21


def _is_tag(data: Data, place: int) -> bool:
    return bytes(data[place : place + 4]) in (b"Xing", b"Info")


def _skip_tags(data: Data, start: int) -> int:
    """Where the next frames may begin: behind ID3v2, ID3v1 and APEv2 tags."""
    while True:
        place = skip_id3(data, start)
        if bytes(data[place : place + 3]) == b"TAG":
            place += ID3V1_BYTES
        elif bytes(data[place : place + 8]) == b"APETAGEX" and len(data) - place >= 32:
            _, _, size, _ = APE_HEAD.unpack_from(data, place)
            place += 32 + size
        if place == start:
            return place
        start = place


def _goes_on(data: Data, start: int, frame_of: FrameOf) -> bool:
    """Whether frames are found behind bytes that are none, or there are too many places to look."""
    marks = re.compile(rb"\xff[\xe0-\xff]").finditer(data, min(start, len(data)))
    for number, mark in enumerate(marks):
        if number == MOST_CANDIDATES or _are_frames(data, mark.start(), frame_of):
            return True
    return False


def _are_frames(data: Data, start: int, frame_of: FrameOf) -> bool:
    for _ in range(FRAMES_IN_A_ROW):
        frame = frame_of(bytes(data[start : start + HEAD_BYTES]))
        if frame is None:
            return False
        start += frame.size
    return True


def _mpeg_frame(head: bytes) -> Frame | None:
    """What the header of an MPEG audio frame says; None: it is none (ISO 11172-3, 2.4.1.3)."""
    return _mpeg_frame_of(head[:4])


@lru_cache(maxsize=4096)
def _mpeg_frame_of(head: bytes) -> Frame | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3  # 3: MPEG-1, 2 and 0: MPEG-2; 3: layer I
    kbits, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 0 or kbits in (0, 15) or rate == 3:
        return None
    bits = 1000 * KBITS[(3, layer) if version == 3 else (2, max(layer, 2))][kbits - 1]
    hertz = RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    is_mono = head[3] >> 6 == 3
    if layer == 3:
        return Frame(4 * (12 * bits // hertz + padding), 384, hertz, is_mono, 1)
    half = 2 if layer == 1 and version != 3 else 1
    return Frame(144 * bits // half // hertz + padding, 1152 // half, hertz, is_mono, 4 - layer)


def _adts_frame(head: bytes) -> Frame | None:
    """What the header of an AAC frame says; None: it is none (ISO 13818-7, 6.2)."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return None
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    channels = (head[2] & 1) << 2 | head[3] >> 6
    rate = ADTS_RATES[head[2] >> 2 & 15]
    return Frame(size, 1024, rate, channels == 1, 0) if size >= 7 else None
