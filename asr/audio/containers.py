"""Which container bytes begin as: the list of those that are read, and the names of others."""

from __future__ import annotations

import mmap
from collections.abc import Callable

from asr.types import AudioError

__all__ = ["READ", "Data", "container_of", "container_to_read", "refuse_container", "skip_id3"]

Data = bytes | bytearray | mmap.mmap

READ = ("WAV", "FLAC", "OGG", "NIST", "AIFF", "AU", "CAF", "W64")
W64_MARK = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
FORMS = {  # the first four bytes, and those from the eighth
    **{(mark, b"WAVE"): "WAV" for mark in (b"RIFF", b"RIFX", b"RF64", b"BW64")},
    **{(b"FORM", kind): "AIFF" for kind in (b"AIFF", b"AIFC")},
    (b"RIFF", b"AVI "): "AVI",
    (b"FORM", b"8SVX"): "8SVX",
}
MARKS = (  # where, what, and whose it is
    *((0, b"fLaC", "FLAC"), (0, b"OggS", "OGG"), (0, b"NIST_1A", "NIST"), (0, b"caff", "CAF")),
    *((0, b".snd", "AU"), (0, b"dns.", "AU"), (0, W64_MARK, "W64")),
    *((4, b"ftyp", "MP4"), (4, b"moov", "QuickTime"), (4, b"mdat", "QuickTime")),
    *((0, b"\x1aE\xdf\xa3", "WebM or Matroska"), (0, b"#!AMR", "AMR"), (0, b"wvpk", "WavPack")),
    *((0, b"0&\xb2u\x8ef\xcf\x11", "WMA"), (0, b"MAC ", "Monkey's Audio"), (0, b"TTA1", "TTA")),
    *((0, b"MPCK", "Musepack"), (0, b"MP+", "Musepack"), (0, b"DSD ", "DSF"), (0, b"FLV\1", "FLV")),
    *((0, b"ajkg", "Shorten"), (0, b"Creative Voice File", "VOC"), (0, b"MThd", "MIDI")),
    *((0, b".RMF", "RealAudio"), (0, b".ra\xfd", "RealAudio")),
)
MPEG_FRAMES = 3  # in a row; two bytes of one could be samples
MPEG_KBITS = {  # by version (3 is MPEG-1) and layer (3 is layer I), from index 1
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
MPEG_RATES = (44_100, 48_000, 32_000)


def container_of(data: Data, start: int = 0) -> str | None:
    """The name of the container that begins at byte ``start``, or None: perhaps raw samples.

    So much of its first bytes is asked for that samples are not taken for a container.
    """
    begin, start = start, skip_id3(data, start)
    name = FORMS.get((bytes(data[start : start + 4]), bytes(data[start + 8 : start + 12])))
    if name is not None:
        return name
    for where, mark, name in MARKS:
        if data[start + where : start + where + len(mark)] == mark:
            return name
    if start > begin or _are_mpeg_frames(data, start, _mpeg_frame_bytes):
        return "MP3"
    return "AAC" if _are_mpeg_frames(data, start, _adts_frame_bytes) else None


def container_to_read(data: Data, wanted: str | None = None) -> str:
    """The name, of :data:`READ`, of the container that ``data`` is.

    Raises:
        AudioError: it is another, or not the ``wanted`` one.
    """
    found = container_of(data)
    if wanted is not None and found != wanted:
        raise AudioError(
            f"the audio is not {wanted}" + (f" but {found}" if found else ""),
            remedy="name its own container, or none so that its first bytes tell",
        )
    if found is None:
        raise AudioError(
            "this is not audio of a known container",
            remedy="use WAV, FLAC, OGG (Vorbis, Opus, FLAC), AIFF, AU, CAF, W64 or NIST SPHERE; "
            "raw samples need their encoding and rate named",
        )
    if found not in READ:
        raise AudioError(
            f"this is a file of the kind {found}, which is not read here",
            remedy="convert it to WAV or FLAC, with ffmpeg for example",
        )
    return found


def refuse_container(data: Data, encoding: str) -> None:
    """Raise AudioError if ``data``, called raw samples of ``encoding``, begins as a container."""
    found = container_of(data)
    if found is not None:
        raise AudioError(
            f"the audio is called raw {encoding}, and it is a file with a header: {found}",
            remedy="leave the encoding out so that the header tells, or send its samples alone",
        )


def skip_id3(data: Data, start: int = 0) -> int:
    """Where the audio begins: behind ID3v2 tags, if there are any (id3.org, ID3v2.4, 3.1)."""
    while data[start : start + 3] == b"ID3":
        head = bytes(data[start : start + 10])
        if len(head) < 10 or head[3] == 0xFF or max(head[6:10]) > 0x7F:
            break
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        start += 10 + size + (10 if head[5] & 0x10 else 0)  # a footer
    return start


def _are_mpeg_frames(data: Data, start: int, size_of: Callable[[bytes], int]) -> bool:
    """Whether frames follow each other as their headers say."""
    for _ in range(MPEG_FRAMES):
        size = size_of(bytes(data[start : start + 6]))
        if not size:
            return False
        start += size
    return True


def _mpeg_frame_bytes(head: bytes) -> int:
    """Bytes of the MPEG audio frame of that header; 0: it is none (ISO 11172-3, 2.4.1.3)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3  # 3: MPEG-1, 2 and 0: MPEG-2; 3: layer I
    kbits, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 0 or kbits in (0, 15) or rate == 3:
        return 0
    table = MPEG_KBITS[(3, layer) if version == 3 else (2, max(layer, 2))]
    bits = 1000 * table[kbits - 1]
    hertz = MPEG_RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    if layer == 3:
        return int(4 * (12 * bits // hertz + padding))
    half = 2 if layer == 1 and version != 3 else 1
    return int(144 * bits // half // hertz + padding)


def _adts_frame_bytes(head: bytes) -> int:
    """Bytes of the AAC frame of that header; 0: it is none (ISO 13818-7, 6.2)."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size >= 7 else 0
