"""Audio that is none, audio that was damaged, and audio that grows: the same for the same seed.

Tests get this module by the fixture ``rubbish``.
"""

from __future__ import annotations

import importlib.util
import io
import random
import struct
from collections.abc import Callable, Iterator

import numpy as np
import soundfile

__all__ = [
    "FOREIGN",
    "encode",
    "flac_claiming",
    "foreign",
    "invalid_payloads",
    "mutants",
    "ogg_flac",
    "ogg_page",
    "originals",
    "sealed",
    "silence",
]

RATE = 16_000
BLOCK = 65_536  # encoders are fed in small blocks: one long Vorbis call ends the interpreter
KINDS = [  # container, coding, channels
    *(("WAV", "PCM_16", 1), ("WAV", "FLOAT", 2), ("WAV", "ULAW", 1), ("WAV", "MS_ADPCM", 1)),
    *(("WAV", "IMA_ADPCM", 1), ("WAV", "GSM610", 1), ("WAVEX", "PCM_24", 2)),
    *(("FLAC", "PCM_16", 1), ("FLAC", "PCM_24", 2), ("OGG", "VORBIS", 1), ("OGG", "OPUS", 1)),
    *(("OGG", "VORBIS", 2), ("NIST", "PCM_16", 1), ("RF64", "PCM_16", 1), ("W64", "PCM_16", 2)),
    *(("AIFF", "PCM_16", 1), ("AIFF", "FLOAT", 1), ("AU", "ULAW", 1), ("CAF", "PCM_24", 1)),
    ("MP3", "MPEG_LAYER_III", 1),
]
FOREIGN = {  # FFmpeg's names of a container and its codec, and options of the container
    "M4A AAC": ("ipod", "aac", {}),
    "M4A ALAC": ("ipod", "alac", {}),
    "MP4 in pieces": ("mp4", "aac", {"movflags": "frag_every_frame+empty_moov"}),
    "MP4 Opus": ("mp4", "libopus", {}),
    "QuickTime PCM": ("mov", "pcm_s16be", {}),
    "WebM Opus": ("webm", "libopus", {}),
    "WebM as a browser records": ("webm", "libopus", {"live": "1"}),
    "Matroska FLAC": ("matroska", "flac", {}),
    "AAC": ("adts", "aac", {}),
    "MP3 of LAME": ("mp3", "libmp3lame", {}),
    "MP3 without a count": ("mp3", "libmp3lame", {"write_xing": "0", "id3v2_version": "0"}),
}
OGG = {  # that libsndfile reads as well
    "Ogg Opus": ("ogg", "libopus", {"page_duration": "200000"}),
    "Ogg FLAC": ("ogg", "flac", {}),
}
OPEN = ("MP4 in pieces", "WebM as a browser records", "AAC", "MP3 of LAME", "MP3 without a count")
LENGTHS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
STRANGERS = (
    *(b"ID3\x04", b"\xff\xfb\x90\x00", b"RIFX", b"RF64", b"FORM", b"caff", b".snd", b"#!AMR\n"),
    *(b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0", b"OggS\0\2", b"wvpk", b"dns."),
    *(b"\0\0\0\x20ftypM4A ", b"PK\x03\x04", b"\x7fELF", b"%PDF-1.7", b"\x1f\x8b\x08", b"\x1aE\xdf"),
    *(b"riff", b"RIF", b"OGGS", b"flac", b"NIST_1B", b'{"audio": ', b"<html>", b"http://"),
)
MARKS = (
    *(b"RIFF", b"fLaC", b"OggS", b"NIST_1A", b"RIFF\0\1\0\0WAVEfmt ", b"FORM\0\1\0\0AIFFCOMM"),
    *(
        b"caff\0\1\0\0desc",
        b"RF64\xff\xff\xff\xffWAVEds64",
        b".snd\0\0\0\x18",
        b"NIST_1A\n   1024\n",
    ),
)


def encode(blocks: Iterator[np.ndarray], rate: int, container: str, coding: str) -> bytes:
    """The bytes of a file; ``blocks`` are float32 ``(N, C)``."""
    target = io.BytesIO()
    first = next(blocks)
    with soundfile.SoundFile(
        target, "w", rate, first.shape[1], format=container, subtype=coding
    ) as file:
        file.write(first)
        for block in blocks:
            file.write(block)
    return target.getvalue()


def silence(seconds: float, rate: int, channels: int, container: str, coding: str) -> bytes:
    """A file of digital silence, which codecs shrink up to a few thousand times."""
    frames, block = int(seconds * rate), np.zeros((BLOCK, channels), np.float32)
    blocks = (block[: min(BLOCK, frames - start)] for start in range(0, frames, BLOCK))
    return encode(blocks, rate, container, coding)


def foreign(samples: np.ndarray, rate: int, kind: str) -> bytes:
    """``samples (N,)`` as a file of ``kind``, of :data:`FOREIGN` or :data:`OGG`, by FFmpeg."""
    av = importlib.import_module("av")
    form, codec, options = {**FOREIGN, **OGG}[kind]
    target = io.BytesIO()
    with av.open(target, "w", format=form, options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        if codec == "libmp3lame":
            stream.options = {"abr": "1"}
        frame = av.AudioFrame.from_ndarray(samples[None].copy(), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        cut = av.AudioResampler(stream.format.name, "mono", rate, stream.frame_size or 1024)
        for part in [*cut.resample(frame), *cut.resample(None), None]:
            container.mux(stream.encode(part))
    return target.getvalue()


def flac_claiming(
    flac: bytes, *, rate: int | None = None, channels: int | None = None, frames: int | None = None
) -> bytes:
    """``flac`` with another rate, channel or sample count in its STREAMINFO (RFC 9639, 8.2)."""
    word = int.from_bytes(
        flac[18:26], "big"
    )  # 20 bits rate, 3 channels - 1, 5 depth - 1, 36 frames
    for value, bits, shift in ((rate, 20, 44), (channels and channels - 1, 3, 41), (frames, 36, 0)):
        if value is not None:
            word = word & ~(((1 << bits) - 1) << shift) | value << shift
    return flac[:18] + word.to_bytes(8, "big") + flac[26:]


def originals(seconds: float = 0.3) -> dict[str, bytes]:
    """Valid files of tones in noise, by ``"container coding channels"``."""
    rng = np.random.default_rng(0)
    time = np.arange(int(seconds * RATE)) / RATE
    files = {}
    for container, coding, channels in KINDS:
        noise = 0.02 * rng.standard_normal((len(time), channels))
        samples = (0.3 * np.sin(2 * np.pi * 440 * time)[:, None] + noise).astype(np.float32)
        files[f"{container} {coding} {channels}"] = encode(iter([samples]), RATE, container, coding)
    wav, flac = bytearray(files["WAV PCM_16 1"]), files["FLAC PCM_16 1"]
    wav[4:8] = wav[40:44] = b"\xff\xff\xff\xff"
    files["WAV pipe 1"] = bytes(wav)
    files["FLAC pipe 1"] = flac_claiming(flac, frames=0)
    files["OGG chain 1"] = files["OGG OPUS 1"] + files["OGG VORBIS 1"]
    files["OGG FLAC 1"] = ogg_flac(flac)
    if importlib.util.find_spec("av") is not None:
        tone = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
        files |= {f"{kind} 1": foreign(tone, RATE, kind) for kind in FOREIGN}
    return files


def ogg_page(
    body: bytes, *, flags: int = 0, number: int = 0, serial: int = 1, granule: int = 0
) -> bytes:
    """A page of one packet, or of a part of one (RFC 3533, 6)."""
    lacing = bytes([255] * (len(body) // 255) + [len(body) % 255])
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, serial, number, 0, len(lacing))
    return sealed(bytearray(head + lacing + body))


def ogg_flac(flac: bytes) -> bytes:
    """The stream of a FLAC file in Ogg (RFC 9639, 10.1), in packets that need not be its frames."""
    first = b"\x7fFLAC\1\0\0\1" + flac[:42]
    bodies = [first, *(flac[start : start + 4_000] for start in range(42, len(flac), 4_000))]
    last = len(bodies) - 1
    return b"".join(
        ogg_page(body, flags=2 * (number == 0) | 4 * (number == last), number=number)
        for number, body in enumerate(bodies)
    )


def sealed(pages: bytearray) -> bytes:
    """``pages`` with the checksums of what they hold."""
    _seal_pages(pages)
    return bytes(pages)


def mutants(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """``count`` times a valid file with 1 to 6 injuries, and its name.

    Many are still audio. Ogg drops pages whose checksum is wrong: every other damaged file has its
    checksums mended, for its codec to see the damage.
    """
    files = originals()
    names = sorted(files)
    for index in range(count):
        rng = random.Random(f"mutant {seed} {index}")
        name = rng.choice(names)
        data = bytearray(files[name])
        for _ in range(rng.randint(1, 6)):
            _injure(data, rng, files[rng.choice(names)])
        if name.startswith("OGG") and rng.random() < 0.5:
            _seal_pages(data)
        yield f"{name}, mutant {index} of seed {seed}", bytes(data)


def _injure(data: bytearray, rng: random.Random, other: bytes) -> None:
    size = max(len(data), 1)
    # Half of the injuries hit the first hundred bytes, where the headers are.
    place = rng.randrange(min(size, 100) if rng.random() < 0.5 else size)
    span = rng.randint(1, 600)
    kind = rng.randrange(9)
    if kind == 0:
        data[place : place + 1] = bytes([rng.randrange(256)])
    elif kind == 1 and data:
        data[place] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data[place : place + 4] = struct.pack(rng.choice(["<I", ">I"]), rng.choice(LENGTHS))
    elif kind == 3:
        data[place : place + 4] = rng.randbytes(4)
    elif kind == 4 and rng.random() < 0.5:
        del data[place:]
    elif kind == 5:
        data[place:place] = data[place : place + span]
    elif kind == 6:
        del data[place : place + span]
    elif kind == 7:
        data[place : place + span] = bytes(span)
    else:
        data[place : place + span] = other[place : place + span]


def _seal_pages(data: bytearray) -> None:
    """Give each Ogg page of ``data`` the checksum of what it holds (RFC 3533, 6)."""
    start = data.find(b"OggS")
    while start >= 0 and start + 27 <= len(data):
        segments = data[start + 26]
        body = start + 27 + segments
        end = min(body + sum(data[start + 27 : body]), len(data))
        data[start + 22 : start + 26] = bytes(4)
        data[start + 22 : start + 26] = struct.pack("<I", _ogg_checksum(data[start:end]))
        start = data.find(b"OggS", max(end, start + 4))


def _ogg_checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ OGG_TABLE[value >> 24 ^ byte]
    return value


def _ogg_table() -> list[int]:
    table = []
    for value in range(256):
        value <<= 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
        table.append(value)
    return table


OGG_TABLE = _ogg_table()


def invalid_payloads(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """``count`` payloads that no decoder of audio with a header may accept, and their kinds."""
    files = originals()
    for index in range(count):
        rng = random.Random(f"invalid {seed} {index}")
        make = INVALID[index % len(INVALID)]
        yield f"{make.__name__.strip('_')}, {index} of seed {seed}", make(rng, files)


Files = dict[str, bytes]


def _noise(rng: random.Random, files: Files) -> bytes:
    return b"\0" * (rng.random() < 0.1) + rng.randbytes(rng.randint(0, 4000))


def _text(rng: random.Random, files: Files) -> bytes:
    return "".join(chr(rng.randint(32, 0x24FF)) for _ in range(rng.randint(0, 1000))).encode()


def _other_format(rng: random.Random, files: Files) -> bytes:
    return rng.choice(STRANGERS) + rng.randbytes(rng.randint(0, 4000))


def _magic_then_noise(rng: random.Random, files: Files) -> bytes:
    return rng.choice(MARKS) + rng.randbytes(rng.randint(0, 4000))


def _header_cut(rng: random.Random, files: Files) -> bytes:
    name, most = rng.choice(
        [("WAV PCM_16 1", 44), ("FLAC PCM_16 1", 42), ("OGG VORBIS 1", 3000), ("OGG OPUS 1", 100)]
    )
    return files[name][: rng.randrange(most)]


def _cut_short(rng: random.Random, files: Files) -> bytes:
    # Cut at the right place, these still are.
    whole = {"WAV pipe 1", "FLAC pipe 1", "OGG chain 1", "MP3 MPEG_LAYER_III 1"}
    name = rng.choice(sorted(files.keys() - whole - {f"{kind} 1" for kind in OPEN}))
    # The last byte may fill up a chunk of odd size.
    return files[name][: rng.randint(len(files[name]) // 2, len(files[name]) - 2)]


def _ogg_that_breaks_off(rng: random.Random, files: Files) -> bytes:
    data = files[rng.choice(["OGG VORBIS 1", "OGG VORBIS 2", "OGG OPUS 1", "OGG FLAC 1"])]
    pages = [place for place in range(len(data)) if data[place : place + 4] == b"OggS"]
    lost = rng.randrange(len(pages) - 1)
    return data[: pages[lost]] + (data[pages[lost + 1] :] if rng.random() < 0.5 else b"")


def _ogg_of_other_codec(rng: random.Random, files: Files) -> bytes:
    mark = rng.choice([b"Speex   ", b"\x80theora", b"CELT    ", b"fishead\0"])
    body = mark + rng.randbytes(rng.randint(0, 100))
    return ogg_page(body, flags=2) + ogg_page(rng.randbytes(rng.randint(0, 999)), flags=4, number=1)


def _no_samples(rng: random.Random, files: Files) -> bytes:
    length = rng.choice([b"\0\0\0\0", b"\1\0\0\0"])  # of 16-bit samples: none, or half of one
    return _wav(_format(1, 1, 16_000, 16), b"data" + length + rng.randbytes(rng.randint(0, 1)))


def _wav_without_format(rng: random.Random, files: Files) -> bytes:
    return _wav(b"data" + struct.pack("<I", 2000) + rng.randbytes(2000))


def _wav_of_no_codec(rng: random.Random, files: Files) -> bytes:
    tag = rng.choice([0, 0x0055, 0x0160, 0x1234, 0xFFF0])
    data = b"data" + struct.pack("<I", 2000) + rng.randbytes(2000)
    return _wav(_format(tag, 1, 16_000, 16), data)


def _wav_beyond_limits(rng: random.Random, files: Files) -> bytes:
    many = [(0, 16_000), (9, 16_000), (1024, 16_000), (65_535, 2**32 - 1)]
    odd_rates = [0, 1, 3_999, 192_001, 2**31 - 1, 2**31, 2**32 - 1]
    channels, rate = rng.choice([*many, *((1, rate) for rate in odd_rates)])
    data = b"data" + struct.pack("<I", 36_864) + rng.randbytes(36_864)
    return _wav(_format(1, channels, rate, 16), data)


def _flac_beyond_limits(rng: random.Random, files: Files) -> bytes:
    return flac_claiming(
        files["FLAC PCM_16 1"],
        **rng.choice([{"rate": 0}, {"rate": 1}, {"rate": 655_350}, {"frames": 2**36 - 1}]),
    )


def _flac_without_audio(rng: random.Random, files: Files) -> bytes:
    header = bytearray(files["FLAC PCM_16 1"][:42])
    header[4] |= 0x80  # no other metadata follows
    return bytes(header) + bytes(rng.randint(0, 2000))


def _ogg_headers_alone(rng: random.Random, files: Files) -> bytes:
    data = files[rng.choice(["OGG VORBIS 1", "OGG OPUS 1"])]
    second = data.find(b"OggS", 4)
    return data[: rng.choice([second, data.find(b"OggS", second + 4)])]


def _ogg_of_no_codec(rng: random.Random, files: Files) -> bytes:
    data = bytearray(files["OGG VORBIS 1"])
    data[28:35] = rng.randbytes(7)
    _seal_pages(data)
    return bytes(data)


def _samples_of_no_number(rng: random.Random, files: Files) -> bytes:
    values = np.zeros(500, "<f4")
    values[rng.randrange(500)] = rng.choice([np.nan, np.inf, -np.inf, 1e30, -3e38])
    return _wav(
        _format(3, 1, 16_000, 32), b"data" + struct.pack("<I", values.nbytes) + values.tobytes()
    )


def _wav(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _format(tag: int, channels: int, rate: int, bits: int) -> bytes:
    step = channels * bits // 8
    speed = rate * step & 0xFFFFFFFF
    fields = struct.pack("<HHIIHH", tag, channels, rate, speed, step & 0xFFFF, bits)
    return b"fmt " + struct.pack("<I", len(fields)) + fields


INVALID: tuple[Callable[[random.Random, Files], bytes], ...] = (
    *(_noise, _text, _other_format, _magic_then_noise, _header_cut, _no_samples),
    *(_wav_without_format, _wav_of_no_codec, _wav_beyond_limits, _flac_beyond_limits),
    *(_flac_without_audio, _ogg_headers_alone, _ogg_of_no_codec, _samples_of_no_number),
    *(_cut_short, _ogg_that_breaks_off, _ogg_of_other_codec),
)
