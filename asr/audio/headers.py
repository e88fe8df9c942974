"""Where samples lie in a container, and how many bytes of them its header promises.

libsndfile takes what is there and says nothing of the rest; so the promise is read here first. A
header that was written to a pipe leaves its sizes open: they are filled in.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from asr.types import AudioError

__all__ = ["Field", "Layout", "PcmFormat", "closed_header", "layout_of", "pcm_format"]

MOST_CHUNKS = 1_000  # before the samples; real files have a handful
NIST_BYTES = 65_536  # of a header; all that are met have 1,024
OPEN_32 = (range(0x7FFF_F000 - 64, 0x8000_0001), range(0xFFFF_FF00, 0x1_0000_0000))
OPEN_64 = 2**62  # and more, or less than 0

# What libsndfile reads of each container; the names of others, as far as they are met.
WAV_CODECS = {1: "PCM", 2: "MS ADPCM", 3: "float", 6: "A-law", 7: "mu-law", 0x11: "IMA ADPCM"}
WAV_CODECS |= {0x31: "GSM 6.10", 0x38: "NMS ADPCM", 0x40: "G.721"}
OTHER_WAV_CODECS = {0x14: "G.723 ADPCM", 0x22: "TrueSpeech", 0x42: "G.723.1", 0x45: "G.726"}
OTHER_WAV_CODECS |= {0x50: "MPEG", 0x55: "MP3", 0x64: "G.726", 0x65: "G.722", 0x83: "G.729"}
OTHER_WAV_CODECS |= {0xFF: "AAC", 0x111: "G.723.1", 0x133: "G.729", 0x140: "G.726"}
OTHER_WAV_CODECS |= {0x161: "WMA", 0x1600: "AAC", 0xA109: "Speex", 0x674F: "Vorbis"}
PCM_ENCODINGS = {(1, 16): "LINEAR16", (3, 32): "FLOAT", (6, 8): "ALAW", (7, 8): "MULAW"}
AIFF_CODECS = {b"NONE", b"sowt", b"twos", b"raw ", b"fl32", b"FL32", b"fl64", b"FL64", b"in24"}
AIFF_CODECS |= {b"in32", b"ulaw", b"ULAW", b"alaw", b"ALAW", b"ima4", b"GSM "}
CAF_CODECS = {b"lpcm", b"ulaw", b"alaw"}
AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # of a sample, by encoding


class Field(NamedTuple):
    """A size in a header: ``(end - base) // unit``, where the samples end at ``end``."""

    offset: int
    form: str
    base: int
    unit: int = 1

    @property
    def stop(self) -> int:
        """Where it ends."""
        return self.offset + struct.calcsize(self.form)


@dataclass(frozen=True)
class Layout:
    """What a header says. Offsets count from the container's first byte.

    Attributes:
        start: where the samples begin.
        size: bytes of samples that are promised; None: the header leaves it open.
        end: where the container ends.
        codec: the name of a coding that is not read here; "": it is read.
        speed: bytes of samples a second, 0 where that is not known.
        fields: the sizes, for :func:`closed_header`.
    """

    start: int
    size: int | None
    end: int
    codec: str = ""
    speed: float = 0.0
    fields: tuple[Field, ...] = ()


class PcmFormat(NamedTuple):
    """Samples that need no codec, as ``decode_pcm`` takes them."""

    encoding: str
    sample_rate: int
    channels: int


class Chunk(NamedTuple):
    name: bytes
    body: int
    size: int


def layout_of(view: memoryview, container: str) -> Layout | None:
    """What the header of ``container`` says that ``view`` begins with.

    None: it is FLAC or OGG, which have no such header, or no place for samples was found.

    Raises:
        AudioError: there are more chunks than any recorder writes.
    """
    read = READERS.get(container)
    try:
        layout = read(view) if read else None
    except struct.error:  # the header is cut
        return None
    if layout is None or any(field.stop > min(layout.start, len(view)) for field in layout.fields):
        return None  # the samples would begin before the end of their own header
    return layout


def closed_header(view: memoryview, layout: Layout) -> bytes:
    """The bytes before the samples, with the sizes of a recording that ends where ``view`` does."""
    head = bytearray(view[: layout.start])
    for field in layout.fields:
        value = (len(view) - field.base) // field.unit
        most = 2 ** (8 * struct.calcsize(field.form) - 1) - 2
        struct.pack_into(field.form, head, field.offset, min(max(value, 0), most))
    return bytes(head)


def pcm_format(view: memoryview) -> PcmFormat | None:
    """What the samples of the WAV file are whose header ``view`` holds.

    None: they need a codec, are of another width, or have their large end first.
    """
    if bytes(view[:4]) == b"RIFX":
        return None
    for chunk in _chunks(view, 12, "<4sI", 2):
        if chunk.name == b"fmt ":
            if chunk.size < 16 or chunk.body + min(chunk.size, 26) > len(view):
                return None
            tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", view, chunk.body)
            if tag == 0xFFFE and chunk.size >= 26:
                (tag,) = struct.unpack_from("<H", view, chunk.body + 24)
            encoding = PCM_ENCODINGS.get((tag, bits))
            return PcmFormat(encoding, rate, channels) if encoding else None
    return None


def _wav(view: memoryview) -> Layout | None:
    """RIFF, RIFX (numbers from the large end), and RF64 or BW64, whose sizes have 64 bits."""
    order = ">" if bytes(view[:4]) == b"RIFX" else "<"
    (riff_size,) = struct.unpack_from(order + "I", view, 4)
    codec, speed, ds64 = "", 0.0, None
    for chunk in _chunks(view, 12, order + "4sI", 2):
        if chunk.name == b"fmt ":
            codec, speed = _wav_format(view, chunk, order)
        elif chunk.name == b"ds64" and bytes(view[:4]) in (b"RF64", b"BW64"):
            ds64 = chunk.body
        elif chunk.name == b"data":
            return _wav_data(view, chunk, riff_size, (codec, speed), ds64, order)
    return None


def _wav_data(
    view: memoryview,
    chunk: Chunk,
    riff_size: int,
    coding: tuple[str, float],
    ds64: int | None,
    order: str,
) -> Layout:
    start, there = chunk.body, len(view) - chunk.body
    if ds64 is not None and chunk.size == 0xFFFF_FFFF:
        riff_size, size = struct.unpack_from("<QQ", view, ds64)
        fields = (Field(ds64, "<Q", 8), Field(ds64 + 8, "<Q", start))
        is_open = size == 0 or size >= OPEN_64
    else:
        size = chunk.size
        fields = (Field(4, order + "I", 8), Field(start - 4, order + "I", start))
        is_open = _is_open(size, there) or (size == 0 and there > 0 and 8 + riff_size != len(view))
    end = _end(view, 8 + riff_size, start + size)
    return Layout(start, None if is_open else size, end, *coding, fields)


def _wav_format(view: memoryview, chunk: Chunk, order: str) -> tuple[str, float]:
    """The name of a codec that is not read, and bytes a second."""
    tag, _, rate, average, block = struct.unpack_from(order + "HHIIH", view, chunk.body)
    if tag == 0xFFFE and chunk.size >= 26:
        (tag,) = struct.unpack_from(order + "H", view, chunk.body + 24)
    codec = "" if tag in WAV_CODECS else OTHER_WAV_CODECS.get(tag, f"codec {tag:#06x}")
    return codec, float(rate * block if tag in (1, 3, 6, 7) else average)


def _w64(view: memoryview) -> Layout | None:
    (riff_size,) = struct.unpack_from("<Q", view, 16)
    coding = ("", 0.0)
    for chunk in _chunks(view, 40, "<16sQ", 8, with_head=True):
        if chunk.name[:4] == b"fmt ":
            coding = _wav_format(view, chunk, "<")
        elif chunk.name[:4] == b"data":
            is_open = chunk.size <= 0 or chunk.size >= OPEN_64
            fields = (Field(16, "<Q", 0), Field(chunk.body - 8, "<Q", chunk.body - 24))
            end = _end(view, riff_size, chunk.body + chunk.size)
            return Layout(chunk.body, None if is_open else chunk.size, end, *coding, fields)
    return None


def _aiff(view: memoryview) -> Layout | None:
    coding, frame, count_at = ("", 0.0), 0, 0
    for chunk in _chunks(view, 12, ">4sI", 2):
        if chunk.name == b"COMM":
            channels, _, bits = struct.unpack_from(">hIh", view, chunk.body)
            frame, count_at = max(channels * ((bits + 7) // 8), 0), chunk.body + 2
            coding = _aiff_format(view, chunk, frame)
        elif chunk.name == b"SSND":
            (offset,) = struct.unpack_from(">I", view, chunk.body)
            start, size = chunk.body + 8 + offset, chunk.size - 8 - offset
            is_open = _is_open(chunk.size, len(view) - chunk.body)
            is_open = is_open or (size <= 0 and len(view) > start)
            fields = [Field(4, ">I", 8), Field(chunk.body - 4, ">I", chunk.body)]
            if frame:
                fields.append(Field(count_at, ">I", start, frame))
            (form_size,) = struct.unpack_from(">I", view, 4)
            end = _end(view, 8 + form_size, start + size)
            return Layout(start, None if is_open else size, end, *coding, tuple(fields))
    return None


def _aiff_format(view: memoryview, chunk: Chunk, frame: int) -> tuple[str, float]:
    """The name of a codec that is not read, and bytes a second."""
    exponent, mantissa = struct.unpack_from(">HQ", view, chunk.body + 8)  # a float of 80 bits
    shift = (exponent & 0x7FFF) - 16_446
    speed = frame * math.ldexp(mantissa, shift) if -64 <= shift <= 0 else 0.0
    if bytes(view[8:12]) != b"AIFC":
        return "", speed
    coding = bytes(view[chunk.body + 18 : chunk.body + 22])
    codec = "" if coding in AIFF_CODECS else f"codec {_printable(coding)}"
    return codec, 0.0 if coding in (b"ima4", b"GSM ") else speed


def _au(view: memoryview) -> Layout | None:
    order = ">" if bytes(view[:4]) == b".snd" else "<"
    start, size, coding, rate, channels = struct.unpack_from(order + "5I", view, 4)
    codec = "" if coding in AU_BYTES else f"encoding {coding}"
    is_open = size == 0xFFFF_FFFF or (size == 0 and len(view) > start)
    speed = float(AU_BYTES.get(coding, 0) * rate * channels)
    fields = (Field(8, order + "I", start),)
    return Layout(start, None if is_open else size, start + size, codec, speed, fields)


def _caf(view: memoryview) -> Layout | None:
    codec, speed = "", 0.0
    for chunk in _chunks(view, 8, ">4sq", 1):
        if chunk.name == b"desc":
            rate, coding, _, packet, frames = struct.unpack_from(">d4s3I", view, chunk.body)
            codec = "" if coding in CAF_CODECS else f"codec {_printable(coding)}"
            speed = rate * packet / frames if frames and packet and rate > 0 else 0.0
        elif chunk.name == b"data":
            start, size = chunk.body + 4, chunk.size - 4  # after the count of edits
            is_open = chunk.size < 0 or chunk.size >= OPEN_64 or (size <= 0 and len(view) > start)
            fields = (Field(chunk.body - 8, ">q", chunk.body),)
            return Layout(start, None if is_open else size, start + size, codec, speed, fields)
    return None


def _nist(view: memoryview) -> Layout | None:
    """SPHERE: lines of names and values in a header whose size its second line tells."""
    line = re.match(rb"NIST_1A\n *(\d{1,9})\n", bytes(view[:32]))
    if line is None:
        return None
    start = int(line[1])
    header = bytes(view[: min(start, NIST_BYTES)])
    numbers = {
        name: int(value)
        for name, value in re.findall(rb"^(\w+) -i (\d{1,15})[ \n]", header, re.MULTILINE)
    }
    coding = re.search(rb"^sample_coding -s\d+ (\S+)", header, re.MULTILINE)
    frame = numbers.get(b"sample_n_bytes", 0) * numbers.get(b"channel_count", 1)
    size = numbers.get(b"sample_count", 0) * frame
    codec = "shorten" if coding and b"shorten" in coding[1] else ""
    speed = float(frame * numbers.get(b"sample_rate", 0))
    return Layout(start, size or None, start + size, codec, speed)


READERS = {"WAV": _wav, "W64": _w64, "AIFF": _aiff, "AU": _au, "CAF": _caf, "NIST": _nist}


def _end(view: memoryview, claimed: int, samples_end: int) -> int:
    """Where a container ends: other chunks may follow its samples."""
    return max(claimed, samples_end) if claimed <= len(view) else samples_end


def _is_open(size: int, there: int) -> bool:
    """Whether 32 bits of a size are what writers to a pipe leave there, and not true by chance."""
    return size > there and any(size in sizes for sizes in OPEN_32)


def _printable(name: bytes) -> str:
    return name.decode("ascii", "replace").encode("ascii", "replace").decode()


def _chunks(
    view: memoryview, start: int, form: str, align: int, *, with_head: bool = False
) -> Iterator[Chunk]:
    """The chunks from ``start``, as far as ``view`` goes.

    ``form`` is a name and a size, which counts itself and the name if ``with_head``; each chunk
    begins at a multiple of ``align``.
    """
    head = struct.Struct(form)
    for _ in range(MOST_CHUNKS):
        if start + head.size > len(view):
            return
        name, size = head.unpack_from(view, start)
        chunk = Chunk(name, start + head.size, size - head.size if with_head else size)
        yield chunk
        start = chunk.body + max(chunk.size, 0)
        start += -start % align
    raise AudioError(
        f"the header has more than {MOST_CHUNKS} chunks", remedy="write the recording anew"
    )
