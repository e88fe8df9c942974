"""Which container bytes begin as: the list of those that are read, and the names of others."""

from __future__ import annotations

from asr.audio.mapped import Data
from asr.audio.mpeg import are_adts_frames, are_mpeg_frames, skip_id3
from asr.types import AudioError

__all__ = [
    "LIVE",
    "READ",
    "Data",
    "container_of",
    "container_to_read",
    "refuse_container",
    "skip_id3",
]

READ = ("WAV", "FLAC", "OGG", "NIST", "AIFF", "AU", "CAF", "W64", "MP3", "AAC", "MP4", "WebM")
LIVE = ("WAV", "OGG", "WebM")  # that can be decoded while they come
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
    *((4, b"ftyp", "MP4"), (4, b"moov", "MP4"), (4, b"mdat", "MP4"), (4, b"wide", "MP4")),
    *((0, b"\x1aE\xdf\xa3", "WebM"), (0, b"#!AMR", "AMR"), (0, b"wvpk", "WavPack")),
    *((0, b"0&\xb2u\x8ef\xcf\x11", "WMA"), (0, b"MAC ", "Monkey's Audio"), (0, b"TTA1", "TTA")),
    *((0, b"MPCK", "Musepack"), (0, b"MP+", "Musepack"), (0, b"DSD ", "DSF"), (0, b"FLV\1", "FLV")),
    *((0, b"ajkg", "Shorten"), (0, b"Creative Voice File", "VOC"), (0, b"MThd", "MIDI")),
    *((0, b".RMF", "RealAudio"), (0, b".ra\xfd", "RealAudio")),
)


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
    if are_adts_frames(data, start):
        return "AAC"
    return "MP3" if start > begin or are_mpeg_frames(data, start) else None


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
            remedy="use WAV, FLAC, OGG (Vorbis, Opus, FLAC), MP3, M4A or MP4, WebM, AAC, AIFF, AU, "
            "CAF, W64 or NIST SPHERE; raw samples need their encoding and rate named",
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
