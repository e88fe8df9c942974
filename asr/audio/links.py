"""The recordings in some bytes: one, or several where files were joined or a stream was chained."""

from __future__ import annotations

import re
from dataclasses import replace

from asr.audio.boxes import mp4_links, webm_links
from asr.audio.containers import READ, Data, container_of, container_to_read, skip_id3
from asr.audio.headers import Layout, closed_header, layout_of
from asr.audio.link import Link, cut_short
from asr.audio.mapped import find
from asr.audio.mpeg import mpeg_links
from asr.audio.ogg import ogg_links
from asr.types import AudioError

__all__ = ["links_of", "own_links"]

MOST_LINKS = 1_000
MPEG = ("MP3", "AAC")
WITH_HEADER = [name for name in READ if name not in (*MPEG, "MP4", "WebM")]  # may follow others
FLAC_BEGINS = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # with the head of STREAMINFO
CONVERT = "convert it to WAV or FLAC, with ffmpeg for example"


def links_of(data: Data, container: str | None = None) -> list[Link]:
    """The recordings that ``data`` holds; ``container`` demands that one and no other.

    Bytes behind a recording that begin no other are passed over.

    Raises:
        AudioError: this is no audio that is read here, or some of it is missing.
    """
    links: list[Link] = []
    found: str | None = container_to_read(data, container)
    start = 0
    while found is not None and found in (WITH_HEADER if links else READ):
        more, start = _links_at(data, skip_id3(data, start), found)
        links += more
        if len(links) > MOST_LINKS:
            raise AudioError(
                f"more than {MOST_LINKS} recordings are joined here", remedy="send fewer at a time"
            )
        start += start % 2 and container_of(data, start) is None  # of an odd size, padded
        found = container_of(data, start)
    return links


def own_links(data: Data) -> list[Link]:
    """As :func:`links_of`, of somebody's own file on their own machine: FFmpeg may read any kind.

    Raises:
        AudioError: this is no audio of a known kind, or some of it is missing.
    """
    kind = container_of(data)
    if kind is None or kind in READ:
        return [replace(link, is_own=True) for link in links_of(data)]
    return [Link(kind, (memoryview(data),), is_own=True)]


def _links_at(data: Data, start: int, container: str) -> tuple[list[Link], int]:
    """The recordings that begin at byte ``start``, and where they end."""
    if container in MPEG:
        return mpeg_links(data, start, container), len(data)
    if container in ("MP4", "WebM"):
        whole = memoryview(data)[start:]
        return mp4_links(whole) if container == "MP4" else webm_links(whole), len(data)
    if container == "OGG":
        found, end = ogg_links(data, start)
        return [Link("OGG", link.parts) for link in found], end
    if container == "FLAC":
        following = find(data, FLAC_BEGINS, start + 4)
        end = len(data) if following < 0 else following
        has_tag = end == len(data) and data[max(end - 128, start) : end][:3] == b"TAG"  # ID3v1
        return [Link("FLAC", (memoryview(data)[start : end - 128 * has_tag],))], end
    view = memoryview(data)[start:]
    layout = layout_of(view, container)
    if layout is None:
        return [Link(container, (view,))], len(data)
    _check_layout(layout, container, len(view))
    is_open = layout.size is None
    head = closed_header(view, layout) if is_open else bytes(view[: layout.start])
    if head.startswith(b"BW64"):
        head = b"RF64" + head[4:]  # the same, by a name that libsndfile knows
    end = len(view) if is_open else layout.end
    return [Link(container, (head, view[layout.start : end]))], start + end


def _check_layout(layout: Layout, container: str, size: int) -> None:
    """Raise AudioError if the samples are of a coding that is not read, or not all there."""
    if layout.codec == "shorten":
        raise AudioError(
            "the audio is SPHERE compressed by shorten", remedy="unpack it with sph2pipe"
        )
    if layout.codec:
        raise AudioError(
            f"the {container} file holds {layout.codec}, which is not read here", remedy=CONVERT
        )
    there = max(size - layout.start, 0)
    if layout.size is not None and there < layout.size:
        raise cut_short(there, layout.size, layout.speed, "bytes")
